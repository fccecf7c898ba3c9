import { createParser, type EventSourceMessage } from "eventsource-parser";
import * as z from "zod";
import type { Resolved } from "../contract/record.ts";
import type { Usage } from "../contract/usage.ts";
import { GatewayError } from "../errors/failure.ts";
import { writeBase64 } from "../lib/base64-decoder.ts";
import { ChatChunks } from "./chat-text.ts";
import { classifyErrorResponse, type SentTexts } from "./error-response.ts";
import {
  invalidResponse,
  orProblem,
  requireImage,
  type ImageCollector,
  type ReceivedImage,
} from "./images.ts";
import { parseParameters } from "./response-formats.ts";
import { ENCODED_IMAGE_MAX_BYTES, MIB, TEXT_MAX_BYTES } from "./response-limits.ts";
import { reportedUsage } from "./usage.ts";

/** A partial image, sent before the image is complete. */
export interface PartialImageEvent {
  /** `partial_image_index`, from 0. */
  index: number;
  image: ReceivedImage;
  resolved: Resolved;
}

/** The completed image of a stream. */
export interface CompletedImageEvent {
  image: ReceivedImage;
  usage: Usage;
  resolved: Resolved;
}

const imageEventSchema = z.looseObject({
  b64_json: z.string().min(1),
  partial_image_index: z.int().min(0).optional(),
  usage: reportedUsage,
});

/** The limit of one event, in characters. It is held in memory. */
const EVENT_MAX_CHARS = ENCODED_IMAGE_MAX_BYTES + TEXT_MAX_BYTES;

interface StreamOptions {
  collector: ImageCollector;
  onPartialImage: (event: PartialImageEvent) => void;
  sent: SentTexts;
}

/**
 * Reads the upstream's event stream: reports each partial image and returns the completed one. A partial image
 * that is not accepted is left out.
 *
 * @throws {GatewayError} the failure for the upstream's error event; if the stream ends without a completed
 *   image, `upstream_invalid_response`, or `moderation_blocked` if it is a chat completion that says so
 */
export async function readEventStream(
  chunks: AsyncIterable<Uint8Array>,
  options: StreamOptions,
): Promise<CompletedImageEvent> {
  let completed: CompletedImageEvent | undefined;
  const chat = new ChatChunks();
  const parser = createParser({
    onEvent: (event) => {
      completed ??= readEvent(event, { ...options, chat });
    },
    onError({ type }) {
      // Any other error is a line that is ignored.
      if (type !== "max-buffer-size-exceeded") return;
      const limit = `${Math.floor(EVENT_MAX_CHARS / MIB)} MiB`;
      throw invalidResponse(`an event in it is too large (more than ${limit})`);
    },
    maxBufferSize: EVENT_MAX_CHARS,
  });
  const decoder = new TextDecoder();
  for await (const chunk of chunks) {
    parser.feed(decoder.decode(chunk, { stream: true }));
    // Nothing useful follows the completed image, and a server may hold the connection open.
    if (completed !== undefined) return completed;
  }
  throw new GatewayError(chat.failure("it ended before the image was complete"));
}

/** Returns the completed image if the event carries it. Reports a partial image. Collects chat chunks. */
function readEvent(
  { event: name, data }: EventSourceMessage,
  { collector, onPartialImage, sent, chat }: StreamOptions & { chat: ChatChunks },
): CompletedImageEvent | undefined {
  if (data === "[DONE]") return undefined;
  const json = parseEvent(data);
  const type = z.object({ type: z.string() }).safeParse(json).data?.type ?? name;
  if (type === "error") throw errorEvent(json, sent);
  chat.add(json);
  const isPartial = type?.endsWith(".partial_image") ?? false;
  if (!isPartial && !type?.endsWith(".completed")) return undefined;

  const event = imageEventSchema.safeParse(json);
  if (!event.success) {
    if (isPartial) return undefined;
    throw invalidResponse("it contains no image");
  }
  const checked = orProblem(writeBase64(event.data.b64_json, collector.open()));
  if ("problem" in checked && isPartial) return undefined;
  const image = requireImage(checked);
  // The format is that of the bytes, whatever the event says.
  const resolved = { ...parseParameters(json), output_format: image.type };
  if (!isPartial) return { image, usage: event.data.usage, resolved };
  onPartialImage({ index: event.data.partial_image_index ?? 0, image, resolved });
  return undefined;
}

function parseEvent(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    throw invalidResponse("an event in it is not valid JSON");
  }
}

/**
 * Returns the failure for an error event: a moderation block, or an upstream failure that may have
 * been charged because generation had started.
 */
function errorEvent(json: unknown, sent: SentTexts): GatewayError {
  const nested = z.object({ error: z.looseObject({}) }).safeParse(json);
  const text = JSON.stringify(nested.success ? json : { error: json });
  const response = { status: 400, retryAfter: null, text };
  const { failure } = classifyErrorResponse(response, sent, Date.now());
  if (failure.code === "moderation_blocked") return new GatewayError(failure);
  return new GatewayError({ code: "upstream_failed", status: undefined, mayHaveCharged: true });
}
