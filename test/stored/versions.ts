import type { Scene } from "./fixture.ts";

const files = import.meta.glob<unknown>("./*/*.json", { eager: true, import: "default" });

/** The versions whose fixtures are committed, oldest first, with their scenes by name. */
export const VERSIONS: [string, Record<string, Scene>][] = [
  ...Map.groupBy(
    Object.entries(files).toSorted(([a], [b]) => (a < b ? -1 : 1)),
    ([path]) => String(path.split("/")[1]),
  ),
].map(([version, entries]) => [
  version,
  Object.fromEntries(
    entries
      .map(([path, content]) => [String(path.split("/")[2]).replace(".json", ""), content] as const)
      .filter(([name]) => name !== "platform"),
  ) as Record<string, Scene>,
]);
