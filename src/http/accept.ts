import type { Context } from "hono";
import { accepts } from "hono/accepts";
import type { ImageRequest } from "../contract/request.ts";
import { GatewayError } from "../errors/failure.ts";
import { IMAGE_TYPES, type ImageType } from "../lib/image-type.ts";
import type { AppEnv } from "./context.ts";

const JSON_TYPE = "application/json";
const NONE = "";

/**
 * Returns the image type that the client prefers to JSON (RFC 9110, 12.5.1). Returns `undefined` if it
 * accepts JSON or names no image type.
 *
 * @throws {GatewayError} `not_acceptable` if the client accepts only images of other types
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
    throw notAcceptable("images are PNG, JPEG or WebP", false);
  }
  return IMAGE_TYPES.find((type) => match === `image/${type}`);
}

/**
 * Rejects a request whose response cannot be the accepted image, before it costs anything.
 *
 * @throws {GatewayError} `not_acceptable`
 */
export function requireImageAccepted({ spec, delivery }: ImageRequest, c: Context<AppEnv>): void {
  if (delivery.accept === undefined) return;
  requireOneImage(spec.n);
  // Models without the parameter generate PNG.
  requireAccepted(spec.options?.output_format ?? "png", false, c);
}

/**
 * Rejects an image type that the client does not accept.
 *
 * @param mayHaveCharged true if the image is generated already
 * @throws {GatewayError} `not_acceptable`
 */
export function requireAccepted(
  type: ImageType,
  mayHaveCharged: boolean,
  c: Context<AppEnv>,
): void {
  const supported = `image/${type}`;
  const match = accepts(c, { header: "Accept", supports: [supported], default: NONE });
  if (match !== supported) throw notAcceptable(`the image is ${supported}`, mayHaveCharged);
}

/**
 * Rejects several images in a response that is one image.
 *
 * @throws {GatewayError} `not_acceptable`
 */
export function requireOneImage(n: number): void {
  if (n > 1) throw notAcceptable("several images require JSON", false);
}

function notAcceptable(reason: string, mayHaveCharged: boolean): GatewayError {
  return new GatewayError({ code: "not_acceptable", reason, mayHaveCharged });
}
