import { createParser, type EventSourceMessage } from "eventsource-parser";
import { z } from "zod";
import type { Resolved, Usage } from "../contract/record.ts";
import { GatewayError } from "../errors/failure.ts";
import { decodeBase64 } from "../lib/extract-base64.ts";
import { readParameters, usageSchema } from "./response-formats.ts";
import { unusable, usable, type Picture, type PictureKeeper } from "./images.ts";
import { judge } from "./error-response.ts";

/** A picture on its way: as good as it is by now. */
export interface PartialPicture {
  /** From 0. */
  index: number;
  picture: Picture;
  resolved: Resolved;
}

export interface StreamedPicture {
  picture: Picture;
  usage: Usage;
  resolved: Resolved;
}

const imageEvent = z.looseObject({
  b64_json: z.string().min(1),
  partial_image_index: z.int().min(0).optional(),
  usage: usageSchema,
});

interface Reading {
  keeper: PictureKeeper;
  onPartial: (partial: PartialPicture) => void;
  /** Texts that no error may repeat. */
  secrets: readonly string[];
}

/**
 * Reads the upstream's event stream: partial images as they come, then the completed one.
 *
 * @throws {GatewayError} the upstream's own error event as a failure; `upstream_invalid_response`
 *   when the stream ends without a picture
 */
export async function readEventStream(
  chunks: AsyncIterable<Uint8Array>,
  reading: Reading,
): Promise<StreamedPicture> {
  let completed: StreamedPicture | undefined;
  const parser = createParser({
    onEvent: (event) => {
      completed ??= readEvent(event, reading);
    },
  });
  const decoder = new TextDecoder();
  for await (const chunk of chunks) {
    parser.feed(decoder.decode(chunk, { stream: true }));
    // What follows the picture is of no use, and a server may hold the line open.
    if (completed !== undefined) return completed;
  }
  throw unusable("it ended before the picture was complete");
}

/** What one event brings: the completed picture, or nothing that ends the stream. */
function readEvent(
  { event: name, data }: EventSourceMessage,
  { keeper, onPartial, secrets }: Reading,
): StreamedPicture | undefined {
  if (data === "[DONE]") return undefined;
  const json = parseEvent(data);
  const type = z.object({ type: z.string() }).safeParse(json).data?.type ?? name;
  if (type === "error") throw errorEvent(json, secrets);
  const isPartial = type?.endsWith(".partial_image") ?? false;
  if (!isPartial && !type?.endsWith(".completed")) return undefined;

  const event = imageEvent.safeParse(json);
  if (!event.success) throw unusable("it holds no picture");
  const bytes = decodeBase64(event.data.b64_json);
  const picture = usable(bytes === undefined ? undefined : keeper.keep(bytes));
  const resolved = readParameters(json);
  if (!isPartial) return { picture, usage: event.data.usage, resolved };
  onPartial({ index: event.data.partial_image_index ?? 0, picture, resolved });
  return undefined;
}

function parseEvent(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    throw unusable("an event in it is no JSON");
  }
}

/** An error after the stream began: refused by the safety system, or failed at the upstream's cost. */
function errorEvent(json: unknown, secrets: readonly string[]): GatewayError {
  const nested = z.object({ error: z.looseObject({}) }).safeParse(json);
  const text = JSON.stringify(nested.success ? json : { error: json });
  const { failure } = judge({ status: 400, retryAfter: null, text }, secrets, Date.now());
  if (failure.code === "moderation_blocked") return new GatewayError(failure);
  return new GatewayError({ code: "upstream_failed", status: undefined, mayHaveCharged: true });
}
