import { imagePath, responseWithoutData } from "../contract/response.ts";
import type { Generation } from "../generation/generate.ts";

export interface JsonOptions {
  responseFormat: "b64_json" | "url";
  /** The gateway's own, for URLs. */
  origin: string;
  /** Keeps the runtime alive until the body is written. */
  waitUntil: (work: Promise<unknown>) => void;
}

/** What is encoded at a time; a multiple of three, so that the pieces join without padding. */
const ENCODE_BYTES = 192 * 1024;

/**
 * A generation as JSON. Images are read and encoded one at a time while the body is sent, and the
 * length is known beforehand: base64 of n bytes has 4⌈n/3⌉ characters.
 *
 * An image that was not kept has no address of ours: asked for by URL, it goes as a `data:` URL, so
 * that what was paid for arrives.
 */
export function jsonResponse(generation: Generation, options: JsonOptions): Response {
  const parts = bodyParts(generation, options);
  const length = parts.reduce(
    (sum, part) => sum + (part.kind === "text" ? part.bytes.byteLength : part.base64Length),
    0,
  );
  const { readable, writable } = new FixedLengthStream(length);
  options.waitUntil(writeParts(parts, writable));
  return new Response(readable, { headers: { "content-type": "application/json" } });
}

type Part =
  | { kind: "text"; bytes: Uint8Array }
  | { kind: "image"; read: () => Promise<Uint8Array>; base64Length: number };

function bodyParts(generation: Generation, { responseFormat, origin }: JsonOptions): Part[] {
  const { record, images, kept } = generation;
  const parts: Part[] = [];
  const { choices, usage, ...head } = responseWithoutData(record, origin, kept);
  let text = `${JSON.stringify(head).slice(0, -1)},"data":[`;
  for (const [index, image] of record.images.entries()) {
    const separator = index === 0 ? "" : ",";
    const revised =
      image.revised_prompt === undefined
        ? ""
        : `,"revised_prompt":${JSON.stringify(image.revised_prompt)}`;
    const read = images[index];
    if ((responseFormat === "url" && kept) || read === undefined) {
      const url = JSON.stringify(origin + imagePath(record, index));
      text += `${separator}{"url":${url}${revised}}`;
      continue;
    }
    text += separator;
    text += responseFormat === "url" ? `{"url":"data:image/${image.type};base64,` : '{"b64_json":"';
    parts.push(textPart(text));
    parts.push({ kind: "image", read, base64Length: 4 * Math.ceil(image.bytes / 3) });
    text = `"${revised}}`;
  }
  parts.push(textPart(`${text}],${JSON.stringify({ choices, usage }).slice(1)}`));
  return parts;
}

function textPart(text: string): Part {
  return { kind: "text", bytes: new TextEncoder().encode(text) };
}

async function writeParts(parts: readonly Part[], writable: WritableStream): Promise<void> {
  const writer = writable.getWriter();
  const encoder = new TextEncoder();
  try {
    for (const part of parts) {
      if (part.kind === "text") {
        await writer.write(part.bytes);
        continue;
      }
      const bytes = await part.read();
      for (let start = 0; start < bytes.byteLength; start += ENCODE_BYTES) {
        const piece = bytes.subarray(start, start + ENCODE_BYTES).toBase64();
        await writer.write(encoder.encode(piece));
      }
    }
    await writer.close();
  } catch (error) {
    // The client left, or an image could not be read: a cut body is the only way left to say so.
    await writer.abort(error).catch(() => undefined);
  }
}
