/** The faults that a prompt requests from the simulator, by name; see README.md. */
export type Directives = ReadonlyMap<string, string>;

const DIRECTIVES = /\[upstream ([^\]]*)\]/;

/** Returns the directives in a prompt, possibly none. */
export function directivesIn(prompt: string): Directives {
  const words = DIRECTIVES.exec(prompt)?.[1]?.trim().split(/\s+/) ?? [];
  return new Map(
    words.map((word) => {
      const [name, ...value] = word.split("=");
      return [String(name), value.join("=").replaceAll("+", " ")];
    }),
  );
}

/** Returns a directive's value as a number, or `preset` if it is absent. */
export function numberOf(directives: Directives, name: string, preset: number): number {
  return Number(directives.get(name) ?? preset);
}
