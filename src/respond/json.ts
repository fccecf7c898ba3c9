import type { ResponseFormat } from "../contract/models.ts";
import { imageUrl, responseWithoutData } from "../contract/response.ts";
import type { MadeGeneration } from "../generation/found.ts";
import { base64Length, byteLength, writeBody, type Part, type WaitUntil } from "./body.ts";

export interface JsonOptions {
  responseFormat: ResponseFormat;
  /** The gateway's own, for URLs. */
  origin: string;
  waitUntil: WaitUntil;
}

/**
 * A generation as JSON. Images are read and encoded one at a time while the body is sent, and the
 * length is known beforehand.
 */
export function jsonResponse(generation: MadeGeneration, options: JsonOptions): Response {
  const parts = bodyParts(generation, options);
  const images = options.responseFormat === "url" ? [] : generation.record.images;
  const length =
    parts.reduce((sum, part) => sum + (typeof part === "string" ? byteLength(part) : 0), 0) +
    images.reduce((sum, image) => sum + base64Length(image.bytes), 0);
  const { readable, writable } = new FixedLengthStream(length);
  options.waitUntil(writeBody(parts, writable));
  return new Response(readable, { headers: { "content-type": "application/json" } });
}

function bodyParts(
  { record, images }: MadeGeneration,
  { responseFormat, origin }: JsonOptions,
): Part[] {
  const { choices, usage, ...head } = responseWithoutData(record, origin);
  const parts: Part[] = [`${JSON.stringify(head).slice(0, -1)},"data":[`];
  for (const [index, { revised_prompt }] of record.images.entries()) {
    const separator = index === 0 ? "" : ",";
    const image = images[index];
    if (responseFormat === "url" || image === undefined) {
      const item = { url: imageUrl(record, index, origin), revised_prompt };
      parts.push(`${separator}${JSON.stringify(item)}`);
    } else {
      // `revised_prompt` or nothing, and the closing brace.
      const rest = JSON.stringify({ revised_prompt })
        .replace(/^\{(?=")/, ",")
        .replace(/^\{/, "");
      parts.push(`${separator}{"b64_json":"`, { image }, `"${rest}`);
    }
  }
  parts.push(`],${JSON.stringify({ choices, usage }).slice(1)}`);
  return parts;
}
