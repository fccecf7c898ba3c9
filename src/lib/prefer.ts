import { parseDirectives } from "./directives.ts";

/** The supported preferences (RFC 7240). */
export interface Preferences {
  /** True if the client requests an immediate 202 response. */
  respondAsync: boolean;
  /** How long to wait for the result before the 202 response. */
  waitSeconds: number | undefined;
}

/** Parses a Prefer header. Unknown and malformed preferences are ignored, as RFC 7240, 2 requires. */
export function parsePrefer(header: string | undefined): Preferences {
  const values = parseDirectives(header, /[,;]/);
  const wait = values.get("wait");
  return {
    respondAsync: values.has("respond-async"),
    waitSeconds: wait !== undefined && /^\d{1,6}$/.test(wait) ? Number(wait) : undefined,
  };
}
