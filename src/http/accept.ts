import type { Context } from "hono";
import { parseAccept } from "hono/utils/accept";
import { OPTION_DEFAULTS, rulesOf } from "../contract/models.ts";
import type { ImageRequest } from "../contract/request.ts";
import { GatewayError } from "../errors/failure.ts";
import { IMAGE_TYPES, mediaTypeOf, type ImageType } from "../lib/image-type.ts";
import type { AppEnv } from "./context.ts";

const ANY = "*/*";
const ANY_IMAGE = "image/*";

const STILL: readonly ImageType[] = ["png", "jpeg", "webp"];

/**
 * Returns the image type that the client prefers to JSON. A header prefers an image if all its types are
 * image types, with or without the wildcard for any type. Every other header means JSON: `undefined`.
 *
 * A still image is preferred to GIF, which is animated, and both to types that only some upstreams generate.
 *
 * @throws {GatewayError} `not_acceptable` if the client accepts only images that are never served
 */
export function preferredImage(c: Context<AppEnv>): ImageType | undefined {
  const ranges = rangesOf(c);
  const isImage = (range: string) => range.startsWith("image/");
  if (!ranges.some(isImage) || !ranges.every((range) => isImage(range) || range === ANY)) {
    return undefined;
  }
  const named = ranges.flatMap(
    (range) => IMAGE_TYPES.find((type) => mediaTypeOf(type) === range) ?? [],
  );
  const still = named.find((type) => STILL.includes(type));
  if (still !== undefined) return still;
  if (ranges.includes(ANY_IMAGE) || ranges.includes(ANY)) return "png";
  const [first] = named;
  if (first !== undefined) return first;
  throw notAcceptable("images are PNG, JPEG, WebP, GIF, AVIF or SVG");
}

/**
 * Rejects a request whose response cannot be the accepted image, before it costs anything. An image that
 * exists is returned in its own type, because it was paid for. So is one whose type the upstream chooses.
 *
 * @throws {GatewayError} `not_acceptable`
 */
export function requireImageAccepted({ spec, delivery }: ImageRequest, c: Context<AppEnv>): void {
  if (delivery.accept === undefined) return;
  const ranges = rangesOf(c);
  if (ranges.includes(ANY)) return;
  requireOneImage(spec.n);
  // Models without the parameter generate PNG.
  const format = spec.options?.output_format ?? "png";
  if (format === OPTION_DEFAULTS.output_format && rulesOf(spec).isOpen) return;
  const supported = mediaTypeOf(format);
  if (ranges.includes(ANY_IMAGE) || ranges.includes(supported)) return;
  throw notAcceptable(`the image is ${supported}`);
}

/**
 * Rejects several images in a response that is one image.
 *
 * @throws {GatewayError} `not_acceptable`
 */
export function requireOneImage(n: number): void {
  if (n > 1) throw notAcceptable("several images require JSON");
}

/** Returns the accepted media ranges in lower case, the preferred first (RFC 9110, 12.5.1). */
function rangesOf(c: Context<AppEnv>): string[] {
  return parseAccept(c.req.header("accept") ?? ANY)
    .filter(({ q }) => q > 0)
    .toSorted((a, b) => b.q - a.q)
    .map(({ type }) => type.toLowerCase());
}

function notAcceptable(reason: string): GatewayError {
  return new GatewayError({ code: "not_acceptable", reason });
}
