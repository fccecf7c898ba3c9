import type { ResponseFormat } from "../contract/models.ts";
import { responseWithoutData, responseWithUrls } from "../contract/response.ts";
import type { CompletedGeneration } from "../generation/result.ts";
import {
  base64Length,
  byteLength,
  piecesOf,
  streamedBody,
  WHOLE_BASE64_BYTES,
  wholeBody,
  type Part,
  type WaitUntil,
} from "./body.ts";

/** How to write a generation as JSON or as events. */
export interface JsonOptions {
  responseFormat: ResponseFormat;
  /** The gateway's own origin, for URLs. */
  origin: string;
  waitUntil: WaitUntil;
  /** Fields that the body, or the event of the completed image, has in addition to those of the generation. */
  more: object;
}

const HEADERS = { "content-type": "application/json" };

/**
 * Returns a generation as JSON. Small images are read before the response begins. Larger ones are read and
 * encoded while the client reads the body, and memory holds one chunk of them at a time. The first chunk is
 * read before the response begins, so that a failed read is an error response. The length is known in advance.
 */
export async function jsonResponse(
  generation: CompletedGeneration,
  options: JsonOptions,
): Promise<Response> {
  const { responseFormat, origin, waitUntil, more } = options;
  const { record } = generation;
  if (responseFormat === "url") {
    const body = { ...responseWithUrls(record, origin), ...more };
    return new Response(JSON.stringify(body), { headers: HEADERS });
  }
  const parts = bodyParts(generation, origin, more);
  const base64Bytes = record.images.reduce((sum, { bytes }) => sum + base64Length(bytes), 0);
  const textBytes = parts.reduce(
    (sum, part) => sum + (typeof part === "string" ? byteLength(part) : 0),
    0,
  );
  const length = textBytes + base64Bytes;
  const body =
    base64Bytes <= WHOLE_BASE64_BYTES
      ? await wholeBody(parts, length)
      : await streamedBody(piecesOf(parts), length, waitUntil);
  return new Response(body, { headers: HEADERS });
}

/** Returns the body as text and images in turn. */
function bodyParts({ record, images }: CompletedGeneration, origin: string, more: object): Part[] {
  const { choices, usage, svg_usage, ...head } = responseWithoutData(record, origin);
  const parts: Part[] = [];
  let text = `${JSON.stringify(head).slice(0, -1)},"data":[`;
  for (const [index, { bytes: sizeBytes, revised_prompt }] of record.images.entries()) {
    const open = images[index];
    if (open === undefined) throw new Error("a generation has fewer images than its record");
    parts.push(`${text}{"b64_json":"`, { open, sizeBytes });
    // `revised_prompt` if there is one, and the closing brace.
    const rest = JSON.stringify({ revised_prompt });
    text = rest === "{}" ? '"},' : `",${rest.slice(1)},`;
  }
  parts.push(
    `${text.slice(0, -1)}],${JSON.stringify({ choices, usage, svg_usage, ...more }).slice(1)}`,
  );
  return parts;
}
