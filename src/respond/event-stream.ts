import type { Resolved } from "../contract/record.ts";
import { imageUrl, wireUsage } from "../contract/response.ts";
import { failureOf, GatewayError, type Failure } from "../errors/failure.ts";
import { toWire } from "../errors/wire.ts";
import {
  madeFrom,
  type GenerationResult,
  type ImageSource,
  type CompletedGeneration,
} from "../generation/result.ts";
import type { PartialImage } from "../generation/protocol.ts";
import { writeBody, type Part } from "./body.ts";
import type { JsonOptions } from "./json.ts";

/** A comment after so much silence keeps proxies from closing the connection. */
const SILENCE_MS = 15_000;

/** What happens to a generation, in the order in which it does. */
type Happening =
  | { kind: "silence" }
  | { kind: "partial"; partial: PartialImage; open: ImageSource }
  | { kind: "completed"; generation: CompletedGeneration }
  | { kind: "failed"; failure: Failure };

/**
 * A generation as server-sent events (WHATWG HTML, 9.2): partial images as they come, those of
 * before first, then the completed one.
 *
 * The headers go with the first event, so that what fails before it is an ordinary error. What fails
 * later is an error event, because a stream that only stops looks complete to the SDKs.
 *
 * @throws {GatewayError} what the generation failed with before its first event
 */
export async function eventStreamResponse(
  found: GenerationResult,
  options: JsonOptions,
): Promise<Response> {
  const happenings = happeningsOf(found, options.responseFormat === "b64_json");
  const first = await happenings.next();
  if (first.done === true) throw new GatewayError({ code: "internal_error" });
  if (first.value.kind === "failed") throw new GatewayError(first.value.failure);
  const { readable, writable } = new IdentityTransformStream();
  options.waitUntil(writeBody(eventParts(first.value, happenings, options), writable));
  return new Response(readable, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
    },
  });
}

async function* happeningsOf(
  found: GenerationResult,
  withImages: boolean,
): AsyncGenerator<Happening, void> {
  if (found.kind === "made") {
    yield { kind: "completed", generation: found };
    return;
  }
  const { handle, outcome } = found;
  try {
    for (let seen = 0; ;) {
      const progress = await handle.progress({ seen, waitMs: SILENCE_MS, withImages });
      for (const partial of progress?.partials ?? []) {
        yield { kind: "partial", partial, open: () => handle.partialImage(partial) };
        seen += 1;
      }
      const generation = madeFrom(progress, handle, outcome);
      if (generation !== undefined) {
        yield { kind: "completed", generation };
        return;
      }
      if (progress?.partials.length === 0) yield { kind: "silence" };
    }
  } catch (error) {
    yield { kind: "failed", failure: failureOf(error) };
  }
}

async function* eventParts(
  first: Happening,
  rest: AsyncGenerator<Happening, void>,
  options: JsonOptions,
): AsyncGenerator<Part, void> {
  try {
    yield* await partsOf(first, options);
    for await (const happening of rest) yield* await partsOf(happening, options);
  } catch {
    // Its images are gone: said before anything of the event went out.
    yield errorEvent({ code: "generation_not_found" });
  }
}

/** Fields in the API's order: what is asked for most, the picture, comes first. */
async function partsOf(happening: Happening, options: JsonOptions): Promise<Part[]> {
  switch (happening.kind) {
    case "silence":
      return [": waiting\n\n"];
    case "partial": {
      const { created, resolved, index, sizeBytes } = happening.partial;
      const fields = { created_at: created, ...parameters(resolved), partial_image_index: index };
      const body = await happening.open();
      return imageEvent("image_generation.partial_image", { body, sizeBytes }, fields);
    }
    case "completed":
      return completedEvent(happening.generation, options);
    case "failed":
      return [errorEvent(happening.failure)];
  }
}

/** Nested, because the Python SDK raises on nothing else. */
function errorEvent(failure: Failure): string {
  return event("error", JSON.stringify({ type: "error", error: toWire(failure).body.error }));
}

async function completedEvent(
  { record, images }: CompletedGeneration,
  options: JsonOptions,
): Promise<Part[]> {
  const type = "image_generation.completed";
  const { created: created_at, resolved } = record;
  const fields = { created_at, ...parameters(resolved), usage: wireUsage(record.usage) };
  const [image] = record.images;
  const [open] = images;
  if (options.responseFormat === "url" || image === undefined || open === undefined) {
    const url = imageUrl(record, 0, options.origin);
    return [event(type, JSON.stringify({ type, url, ...fields }))];
  }
  return imageEvent(type, { body: await open(), sizeBytes: image.bytes }, fields);
}

function parameters({ size, quality, background, output_format }: Resolved) {
  return { size, quality, background, output_format };
}

function imageEvent(
  type: string,
  { body, sizeBytes }: { body: ReadableStream<Uint8Array>; sizeBytes: number },
  fields: object,
): Part[] {
  const image = { open: () => Promise.resolve(body), sizeBytes };
  const rest = JSON.stringify(fields).slice(1);
  return [`event: ${type}\ndata: {"type":"${type}","b64_json":"`, image, `",${rest}\n\n`];
}

function event(name: string, data: string): string {
  return `event: ${name}\ndata: ${data}\n\n`;
}
