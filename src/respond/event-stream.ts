import type { Resolved } from "../contract/record.ts";
import { imageUrl, wireUsage } from "../contract/response.ts";
import { failureOf, GatewayError, type Failure } from "../errors/failure.ts";
import { toWire } from "../errors/wire.ts";
import {
  updatesOf,
  type CompletedGeneration,
  type GenerationResult,
  type ResultUpdate,
} from "../generation/result.ts";
import { writeBody, type Part } from "./body.ts";
import type { JsonOptions } from "./json.ts";

/** After this silence, a comment keeps proxies from closing the connection. */
export const SILENCE_MS = 15_000;

/** An item of the stream, in order. */
type StreamItem =
  | Exclude<ResultUpdate, { kind: "restarted" }>
  | { kind: "failed"; failure: Failure };

/**
 * Returns a generation as server-sent events (WHATWG HTML, 9.2): the partial images, the earlier ones
 * first, then the completed image.
 *
 * The headers are sent with the first event, so a failure before it is an ordinary error response. A
 * later failure is an error event, because to the SDKs a stream that only stops looks complete.
 *
 * @throws {GatewayError} the failure of the generation before its first event
 */
export async function eventStreamResponse(
  result: GenerationResult,
  options: JsonOptions,
): Promise<Response> {
  const items = streamItems(result, options.responseFormat === "b64_json");
  const first = await items.next();
  if (first.done === true) throw new GatewayError({ code: "internal_error" });
  if (first.value.kind === "failed") throw new GatewayError(first.value.failure);
  const { readable, writable } = new IdentityTransformStream();
  options.waitUntil(writeBody(eventParts(first.value, items, options), writable));
  return new Response(readable, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
    },
  });
}

async function* streamItems(
  result: GenerationResult,
  withImages: boolean,
): AsyncGenerator<StreamItem, void> {
  if (result.kind === "completed") {
    yield { kind: "completed", generation: result };
    return;
  }
  const waiting = {
    partialImages: true,
    withImages,
    waitMs: Number.POSITIVE_INFINITY,
    pollMs: SILENCE_MS,
  };
  try {
    for await (const update of updatesOf(result, waiting)) {
      if (update.kind !== "restarted") yield update;
    }
  } catch (error) {
    yield { kind: "failed", failure: failureOf(error) };
  }
}

async function* eventParts(
  first: StreamItem,
  rest: AsyncGenerator<StreamItem, void>,
  options: JsonOptions,
): AsyncGenerator<Part[], void> {
  try {
    yield await partsOf(first, options);
    for await (const item of rest) yield await partsOf(item, options);
  } catch {
    // The images were deleted. Images are opened before their event begins, so no event is cut.
    yield [errorEvent({ code: "generation_not_found" })];
  }
}

/** Returns an event with its fields in the API's order: the image comes first. */
async function partsOf(item: StreamItem, options: JsonOptions): Promise<Part[]> {
  switch (item.kind) {
    case "waiting":
      return [": waiting\n\n"];
    case "partial": {
      const { created, resolved, index, sizeBytes } = item.partial;
      const fields = { created_at: created, ...parameters(resolved), partial_image_index: index };
      const body = await item.open();
      return imageEvent("image_generation.partial_image", { body, sizeBytes }, fields);
    }
    case "completed":
      return completedEvent(item.generation, options);
    case "failed":
      return [errorEvent(item.failure)];
  }
}

/** Returns an error event. The error is nested, because the Python SDK raises only on that form. */
function errorEvent(failure: Failure): string {
  return event("error", JSON.stringify({ type: "error", error: toWire(failure).body.error }));
}

async function completedEvent(
  { record, images }: CompletedGeneration,
  options: JsonOptions,
): Promise<Part[]> {
  const type = "image_generation.completed";
  const { created: created_at, resolved } = record;
  const usage = wireUsage(record.usage);
  const fields = { created_at, ...parameters(resolved), usage, ...options.more };
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
