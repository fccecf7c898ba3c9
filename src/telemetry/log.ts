/** Names and numbers only. Never a prompt, a token, a key or text from a client or an upstream. */
export type LogFields = Record<string, string | number | boolean | null | undefined>;

/**
 * Writes one line of JSON, which Workers Logs parses into fields.
 *
 * @param level `error` writes to stderr, so that errors stand out in a terminal
 */
export function log(level: "info" | "error", event: string, fields: LogFields): void {
  const line = JSON.stringify({ level, event, ...fields });
  if (level === "error") console.error(line);
  else console.log(line);
}

/**
 * Returns the fields that may be logged for a thrown value: its class and stack frames. Never its
 * message, which may quote private data: `JSON.parse` repeats its input, `fetch` its URL.
 */
export function errorFields(error: unknown): LogFields {
  if (!(error instanceof Error)) return { error: typeof error };
  const frames = error.stack?.split("\n").filter((line) => /^\s+at /.test(line));
  return { error: error.name, at: frames?.slice(0, 5).join("\n") };
}
