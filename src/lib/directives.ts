/**
 * Parses a header of directives, `name` or `name=value`. Names are case-insensitive and values may be quoted.
 *
 * @param separator between two directives
 * @returns the values by name in lower case; an empty value if there is none
 */
export function parseDirectives(
  header: string | undefined,
  separator: RegExp,
): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const directive of header?.split(separator) ?? []) {
    const [name = "", value = ""] = directive.split("=", 2);
    values.set(name.trim().toLowerCase(), value.trim().replace(/^"(.*)"$/, "$1"));
  }
  return values;
}
