import type { Context } from "hono";
import { parseAccept } from "hono/utils/accept";
import { OPTION_DEFAULTS, rulesOf, STILL_FORMATS } from "../contract/models.ts";
import type { ImageRequest } from "../contract/request.ts";
import { GatewayError, type Failure } from "../errors/failure.ts";
import { IMAGE_TYPES, mediaTypeOf, type ImageType } from "../lib/image-type.ts";
import type { AppEnv } from "./context.ts";

const ANY = "*/*";
const ANY_IMAGE = "image/*";

/**
 * Returns the image types that the client prefers to JSON: still images first, each group by preference. GIF
 * is animated, and few upstreams generate the other types. A header prefers an image if all its types are
 * image types, with or without the wildcard for any type. Every other header means JSON: `undefined`.
 */
export function preferredImages(c: Context<AppEnv>): readonly ImageType[] | undefined {
  const { accepted, rejected } = rangesOf(c);
  const isImage = (range: string) => range.startsWith("image/");
  if (!accepted.some(isImage) || !accepted.every((range) => isImage(range) || range === ANY)) {
    return undefined;
  }
  const named = accepted.flatMap(
    (range) => IMAGE_TYPES.find((type) => mediaTypeOf(type) === range) ?? [],
  );
  const hasWildcard = accepted.includes(ANY_IMAGE) || accepted.includes(ANY);
  return [
    ...named.filter((type) => STILL_FORMATS.includes(type)),
    ...(hasWildcard ? STILL_FORMATS : []),
    ...named,
  ].filter((type) => !rejected.includes(mediaTypeOf(type)));
}

/**
 * Returns why the response to a request cannot be the accepted image; `undefined` if it can. The upstream
 * chooses the type of an open model's image, so that is accepted.
 */
export function acceptFailure(
  { spec, delivery }: ImageRequest,
  c: Context<AppEnv>,
): Failure | undefined {
  if (!delivery.asImage) return undefined;
  const { accepted, rejected } = rangesOf(c);
  if (accepted.includes(ANY)) return undefined;
  if (spec.n > 1) return SEVERAL_IMAGES;
  // Models without the parameter generate PNG.
  const format = spec.options?.output_format ?? OPTION_DEFAULTS.output_format;
  if (format === OPTION_DEFAULTS.output_format && rulesOf(spec).isOpen) return undefined;
  const type = mediaTypeOf(format);
  const isAccepted = accepted.includes(type) || accepted.includes(ANY_IMAGE);
  return isAccepted && !rejected.includes(type)
    ? undefined
    : { code: "not_acceptable", reason: `the image is ${type}` };
}

/**
 * Rejects several images in a response that is one image.
 *
 * @throws {GatewayError} `not_acceptable`
 */
export function requireOneImage(n: number): void {
  if (n > 1) throw new GatewayError(SEVERAL_IMAGES);
}

const SEVERAL_IMAGES: Failure = {
  code: "not_acceptable",
  reason: "several images require JSON",
};

/** Returns the media ranges of the header in lower case, the preferred first (RFC 9110, 12.5.1). */
function rangesOf(c: Context<AppEnv>): { accepted: string[]; rejected: string[] } {
  const ranges = parseAccept(c.req.header("accept") ?? ANY).toSorted((a, b) => b.q - a.q);
  const typesOf = (each: typeof ranges) => each.map(({ type }) => type.toLowerCase());
  return {
    accepted: typesOf(ranges.filter(({ q }) => q > 0)),
    rejected: typesOf(ranges.filter(({ q }) => q === 0)),
  };
}
