/** The preferences (RFC 7240) that mean something here. */
export interface Preferences {
  /** 202 at once rather than waiting. */
  respondAsync: boolean;
  /** Wait so long, and answer 202 then. */
  waitSeconds: number | undefined;
}

/** Reads a Prefer header. Unknown and malformed preferences are ignored, as RFC 7240, 2 asks. */
export function parsePrefer(header: string | undefined): Preferences {
  const values = new Map<string, string>();
  for (const preference of header?.split(/[,;]/) ?? []) {
    const [name = "", value = ""] = preference.split("=", 2);
    values.set(name.trim().toLowerCase(), value.trim().replace(/^"(.*)"$/, "$1"));
  }
  const wait = values.get("wait");
  return {
    respondAsync: values.has("respond-async"),
    waitSeconds: wait !== undefined && /^\d{1,6}$/.test(wait) ? Number(wait) : undefined,
  };
}
