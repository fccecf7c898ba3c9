import type { Context } from "hono";
import { accepts } from "hono/accepts";
import { GatewayError } from "../errors/failure.ts";
import { IMAGE_TYPES, type ImageType } from "../lib/image-type.ts";
import type { AppEnv } from "./context.ts";

const JSON_TYPE = "application/json";
const NONE = "";

/**
 * The picture format that a client would rather have than JSON (RFC 9110, 12.5.1); `undefined` where
 * it takes JSON: by name, by a wildcard for everything, or by saying nothing.
 *
 * @throws {GatewayError} `not_acceptable` where it takes only pictures of other formats
 */
export function preferredImage(c: Context<AppEnv>): ImageType | undefined {
  const match = accepts(c, {
    header: "Accept",
    supports: [JSON_TYPE, ...IMAGE_TYPES.map((type) => `image/${type}`)],
    default: NONE,
  });
  if (match === NONE) {
    const header = c.req.header("accept") ?? "*/*";
    if (!header.includes("image/") || header.includes("*/*")) return undefined;
    throw notAcceptable("pictures are PNG, JPEG or WebP", false);
  }
  return IMAGE_TYPES.find((type) => match === `image/${type}`);
}

/**
 * Makes sure that a client takes a picture of this format.
 *
 * @param mayHaveCharged whether the picture is made already
 * @throws {GatewayError} `not_acceptable`
 */
export function requireAccepted(
  type: ImageType,
  mayHaveCharged: boolean,
  c: Context<AppEnv>,
): void {
  const supported = `image/${type}`;
  const match = accepts(c, { header: "Accept", supports: [supported], default: NONE });
  if (match !== supported) throw notAcceptable(`the picture is ${supported}`, mayHaveCharged);
}

/** One answer can be one picture. */
export function requireOneImage(n: number): void {
  if (n > 1) throw notAcceptable("there are several pictures, which only JSON can hold", false);
}

function notAcceptable(reason: string, mayHaveCharged: boolean): GatewayError {
  return new GatewayError({ code: "not_acceptable", reason, mayHaveCharged });
}
