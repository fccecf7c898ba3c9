/** Names and numbers only: no prompt, no token, no key, no text from outside. */
export type LogFields = Record<string, string | number | boolean | null | undefined>;

/**
 * One line of JSON, which Workers Logs takes apart into fields.
 *
 * @param level problems go to stderr, so that they stand out in a terminal too
 */
export function log(level: "info" | "error", event: string, fields: LogFields): void {
  const line = JSON.stringify({ level, event, ...fields });
  if (level === "error") console.error(line);
  else console.log(line);
}

/**
 * What may be logged of a thrown value: its class and where it came from. Never its message, which
 * may quote what was being worked on: `JSON.parse` repeats its input, `fetch` its URL.
 */
export function errorFields(error: unknown): LogFields {
  if (!(error instanceof Error)) return { error: typeof error };
  const frames = error.stack?.split("\n").filter((line) => /^\s+at /.test(line));
  return { error: error.name, at: frames?.slice(0, 5).join("\n") };
}
