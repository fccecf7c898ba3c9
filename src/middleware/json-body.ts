import type { Context } from "hono";
import { GatewayError } from "../errors.ts";
import { readAll, TooManyBytes } from "../lib/streams.ts";
import type { AppEnv } from "./context.ts";

const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i;

/** Refuses what is not UTF-8, the only encoding of JSON between systems (RFC 8259, 8.1). */
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/**
 * The JSON in a request's body, whatever it is. Bytes are counted while they are read: what a
 * header says of the length is not believed.
 *
 * @throws {GatewayError} `unsupported_media_type`, `request_too_large`, `invalid_json`
 */
export async function jsonBody(c: Context<AppEnv>): Promise<unknown> {
  if (!JSON_TYPE.test(c.req.header("content-type") ?? "")) {
    throw new GatewayError({ code: "unsupported_media_type" });
  }
  const bytes = await bodyBytes(c);
  try {
    return JSON.parse(UTF8.decode(bytes));
  } catch {
    throw new GatewayError({ code: "invalid_json", problem: "malformed" });
  }
}

async function bodyBytes(c: Context<AppEnv>): Promise<Uint8Array> {
  const { body } = c.req.raw;
  const limitBytes = c.get("config").maxBodyBytes;
  if (body === null) return new Uint8Array();
  try {
    return await readAll(body, limitBytes);
  } catch (error) {
    if (!(error instanceof TooManyBytes)) throw error;
    throw new GatewayError({ code: "request_too_large", limitBytes });
  }
}
