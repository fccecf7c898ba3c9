import type { Context } from "hono";
import { GatewayError } from "../errors/failure.ts";
import { jsonDepth, MAX_JSON_DEPTH } from "../lib/json-depth.ts";
import { readAll, TooManyBytes } from "../lib/streams.ts";
import type { AppEnv } from "./context.ts";

const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i;

/** Decoder that rejects every encoding except UTF-8 (RFC 8259, 8.1). */
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/**
 * Returns the parsed JSON body of a request, of any shape.
 *
 * @param limitBytes `MAX_BODY_BYTES` if absent
 * @throws {GatewayError} `unsupported_media_type`, `request_too_large`, `invalid_json`
 */
export async function jsonBody(c: Context<AppEnv>, limitBytes?: number): Promise<unknown> {
  return parseJson(await jsonBytes(c, limitBytes));
}

/**
 * Returns the bytes of a JSON body. The limit applies to the bytes that are read, because Content-Length
 * may be absent. A body that declares more is not read.
 *
 * @throws {GatewayError} `unsupported_media_type`, `request_too_large`; `invalid_json` if the body is cut
 */
export async function jsonBytes(
  c: Context<AppEnv>,
  limitBytes = c.get("config").maxBodyBytes,
): Promise<Uint8Array> {
  if (!JSON_TYPE.test(c.req.header("content-type") ?? "")) {
    throw new GatewayError({ code: "unsupported_media_type" });
  }
  const { body } = c.req.raw;
  if (body === null) return new Uint8Array();
  const tooLarge = new GatewayError({ code: "request_too_large", limitBytes });
  if ((declaredBytes(c) ?? 0) > limitBytes) throw tooLarge;
  try {
    return await readAll(body, limitBytes);
  } catch (error) {
    if (error instanceof TooManyBytes) throw tooLarge;
    // The client has disconnected, or has sent fewer bytes than it declared.
    throw new GatewayError({ code: "invalid_json", problem: "malformed" });
  }
}

/** Returns the Content-Length of a request; `undefined` if it is absent. The runtime reads no byte beyond it. */
export function declaredBytes(c: Context<AppEnv>): number | undefined {
  const length = c.req.header("content-length");
  return length === undefined ? undefined : Number(length);
}

/**
 * Parses the bytes of a JSON body.
 *
 * @throws {GatewayError} `invalid_json`
 */
export function parseJson(bytes: Uint8Array): unknown {
  if (jsonDepth(bytes) > MAX_JSON_DEPTH) {
    throw new GatewayError({ code: "invalid_json", problem: "too_deep" });
  }
  try {
    return JSON.parse(UTF8.decode(bytes));
  } catch {
    throw new GatewayError({ code: "invalid_json", problem: "malformed" });
  }
}
