/** What a prompt asks the simulator to do wrong; see README.md. */
export type Directives = ReadonlyMap<string, string>;

const DIRECTIVES = /\[upstream ([^\]]*)\]/;

/** The directives in a prompt; none where it has none. */
export function directivesIn(prompt: string): Directives {
  const words = DIRECTIVES.exec(prompt)?.[1]?.trim().split(/\s+/) ?? [];
  return new Map(
    words.map((word) => {
      const [name, ...value] = word.split("=");
      return [String(name), value.join("=").replaceAll("+", " ")];
    }),
  );
}

/** A directive's value as a number, or what stands in for it. */
export function numberOf(directives: Directives, name: string, preset: number): number {
  return Number(directives.get(name) ?? preset);
}
