interface ImportMeta {
  /** Imports the default exports of the matching files, or their text (Vite). */
  glob<Module>(
    pattern: string,
    options: { eager: true; import: "default"; query?: "?raw" },
  ): Record<string, Module>;
}
