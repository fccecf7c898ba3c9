import { createHash, randomBytes } from "node:crypto";
import { numberOf, type Directives } from "./directives.ts";
import { HTML } from "./html.ts";
import { isImageType, paint, type ImageType } from "./paint.ts";
import type { ImageRequest } from "./request.ts";
import { isSvgForm } from "./svg.ts";
import { usageOf } from "./usage.ts";

/**
 * Paints one image of a call, and records its hash and its tokens in the call.
 *
 * @param trackUrl the prefix of the URLs that a hostile SVG requests
 */
export async function paintImage(
  request: ImageRequest,
  index: number,
  trackUrl: string,
): Promise<Buffer> {
  const image = await paintPadded(request, index, trackUrl);
  const { input_tokens: input, output_tokens: output } = usageOf(request);
  request.call.images[index] = createHash("sha256").update(image).digest("hex");
  request.call.tokens = { input, output };
  return image;
}

/** Returns the type of the image's bytes: the directive `type`, otherwise the `output_format`. */
export function typeOf({ directives, format }: ImageRequest): ImageType {
  const type = directives.get("type");
  return isImageType(type) ? type : format;
}

/** The largest image that the gateway accepts. */
const GATEWAY_MAX_BYTES = 25 * 1024 * 1024;

/** Returns true if a directive names an image by its index. */
function isNamed(directives: Directives, name: string, index: number): boolean {
  return directives.get(name)?.split(",").includes(String(index)) ?? false;
}

async function paintPadded(
  request: ImageRequest,
  index: number,
  trackUrl: string,
): Promise<Buffer> {
  const { prompt, seed, width, height, compression, frames, frameMs, directives } = request;
  const type = typeOf(request);
  const svg = directives.get("svg");
  const image = await paint({
    prompt,
    index,
    seed,
    width,
    height,
    type,
    transparent: request.background === "transparent",
    compression,
    frames,
    frameMs,
    ...(svg === "hostile" ? { trackUrl } : {}),
    ...(isSvgForm(svg) ? { svgForm: svg } : {}),
  });
  if (isNamed(directives, "html", index)) return Buffer.from(HTML.repeat(50));
  const isTooLarge = isNamed(directives, "too-large", index);
  const bytes = isTooLarge ? GATEWAY_MAX_BYTES + 1 : numberOf(directives, "bytes", 0);
  const missing = bytes - image.byteLength;
  if (missing <= 0) return image;
  // Decoders ignore bytes after the end of an image. After an XML document, only white space is allowed.
  const padding = type === "svg" ? Buffer.alloc(missing, "\n") : randomBytes(missing);
  return Buffer.concat([image, padding]);
}
