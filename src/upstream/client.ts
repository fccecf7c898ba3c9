import { version } from "../../package.json";
import { MISSING_KEY, type UpstreamConfig } from "../config/environment.ts";
import type { GeneratedImages } from "../contract/record.ts";
import type { ImageRequest } from "../contract/request.ts";
import { GatewayError } from "../errors/failure.ts";
import { extractBase64, TooMuchText } from "../lib/extract-base64.ts";
import { readChunks, TooManyBytes, type ReadMode } from "../lib/streams.ts";
import { failureWithoutImage } from "./chat-text.ts";
import { classifyErrorResponse, type SentTexts } from "./error-response.ts";
import { readEventStream, type PartialImageEvent } from "./event-stream.ts";
import {
  ImageCollector,
  invalidResponse,
  loadImage,
  orProblem,
  requireImage,
  type ImageSink,
  type CheckedImage,
  type ReceivedImage,
} from "./images.ts";
import { upstreamBody } from "./request.ts";
import { MIB, SURPLUS_IMAGES, responseMaxBytes, TEXT_MAX_BYTES } from "./response-limits.ts";
import { parseResponse } from "./response-formats.ts";
import { retryDelayMs } from "./retry.ts";

/** The result of an upstream call. The bytes of the images are in the sink. */
export interface UpstreamGeneration extends GeneratedImages {
  images: GeneratedImage[];
}

/** An image of an upstream call, with its revised prompt. */
export interface GeneratedImage extends ReceivedImage {
  revisedPrompt: string | undefined;
}

/** The configuration of an upstream call, and the receivers of its images. */
export interface DispatchOptions {
  config: UpstreamConfig;
  /** True if images may be downloaded over http and from this machine. */
  localDevelopment: boolean;
  /** Receives the images one at a time, partial images included. */
  sink: ImageSink;
  /** Called for each partial image as soon as its bytes are in the sink. */
  onPartialImage: (event: PartialImageEvent) => void;
}

/** Error bodies are short. The beginning of a longer one is enough. */
const ERROR_BODY_MAX_BYTES = 64 * 1024;

const SEND_OPTIONS = { method: "POST", redirect: "manual" } as const;

/**
 * Sends a request to the upstream and reads the images from its response, in any response format.
 * Retries if nothing was generated. The total time is bounded by the configured timeout.
 *
 * @throws {GatewayError} `misconfigured` without a key; `moderation_blocked` and `upstream_*`
 */
export async function dispatch(
  request: ImageRequest,
  options: DispatchOptions,
): Promise<UpstreamGeneration> {
  const { apiKey, timeoutSeconds } = options.config;
  if (apiKey === undefined) {
    throw new GatewayError({ code: "misconfigured", problems: [MISSING_KEY] });
  }
  const deadlineMs = Date.now() + timeoutSeconds * 1000;
  // Not AbortSignal.timeout: its timer cannot be cleared, so it would keep a Durable Object in
  // memory, and billed, for the full timeout.
  const timeout = new AbortController();
  const { signal } = timeout;
  const timer = setTimeout(() => timeout.abort(), timeoutSeconds * 1000);
  try {
    const sent = sentTexts(request, apiKey);
    const response = await send(request, options.config, apiKey, { signal, deadlineMs, sent });
    const { n, options: imageOptions } = request.spec;
    const isStream = isEventStream(response);
    const expected = isStream ? request.upstream.partialImages + 1 : n;
    const collector = new ImageCollector({
      sink: options.sink,
      acceptsSvg: imageOptions?.output_format === "svg",
      maxImages: expected + SURPLUS_IMAGES,
    });
    const reading = { ...options, collector, maxBytes: responseMaxBytes(expected) };
    return isStream
      ? await readStreamedGeneration(response, { ...reading, sent })
      : await readGeneration(response, n, { ...reading, signal });
  } catch (error) {
    // After the timeout, every error is a consequence of the abort.
    if (signal.aborted) throw new GatewayError({ code: "upstream_timeout", timeoutSeconds });
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function sentTexts({ spec, upstream }: ImageRequest, apiKey: string): SentTexts {
  const identifiers = [upstream.user, upstream.safetyIdentifier];
  return {
    secrets: [apiKey, spec.prompt],
    identifiers: identifiers.filter((identifier) => identifier !== undefined),
  };
}

/** Returns true for an event stream. A server may respond to `stream: true` with JSON. */
function isEventStream(response: Response): boolean {
  const contentType = response.headers.get("content-type");
  return contentType !== null && /^text\/event-stream\b/i.test(contentType);
}

/** Returns a successful response, retrying as often as is allowed and safe. */
async function send(
  request: ImageRequest,
  config: UpstreamConfig,
  apiKey: string,
  { signal, deadlineMs, sent }: { signal: AbortSignal; deadlineMs: number; sent: SentTexts },
): Promise<Response> {
  const { baseUrl, maxRetries } = config;
  const body = JSON.stringify(upstreamBody(request, config));
  for (let attempt = 1; ; attempt += 1) {
    let response: Response;
    try {
      response = await fetch(`${baseUrl}/images/generations`, {
        ...SEND_OPTIONS,
        headers: {
          accept: request.upstream.stream ? "text/event-stream" : "application/json",
          authorization: `Bearer ${apiKey}`,
          "content-type": "application/json",
          "user-agent": `darkroom/${version}`,
        },
        body,
        signal,
      });
    } catch {
      // The runtime reports a refused connection and one that was cut after the request was sent
      // in the same way. The upstream may have charged for the request.
      throw new GatewayError({ code: "upstream_unreachable", mayHaveCharged: true });
    }
    if (response.ok) return response;

    const errorResponse = {
      status: response.status,
      retryAfter: response.headers.get("retry-after"),
      text: await readErrorBody(response),
    };
    const { failure, retryable } = classifyErrorResponse(errorResponse, sent, Date.now());
    const retryAfterSeconds =
      failure.code === "upstream_rate_limited" ? failure.retryAfterSeconds : undefined;
    const delayMs = retryable
      ? retryDelayMs(attempt, maxRetries, retryAfterSeconds, Math.random())
      : undefined;
    // A delay past the deadline would turn this error into a timeout and hide its cause.
    if (delayMs === undefined || Date.now() + delayMs >= deadlineMs) {
      throw new GatewayError(failure);
    }
    await scheduler.wait(delayMs, { signal });
  }
}

/** How to read a response. */
interface ReadOptions extends DispatchOptions {
  collector: ImageCollector;
  maxBytes: number;
}

/**
 * Reads a JSON response. Images that are not accepted are left out if others are. Images beyond `n` are
 * discarded.
 *
 * @throws {GatewayError} `upstream_invalid_response` if no image is accepted
 */
async function readGeneration(
  response: Response,
  n: number,
  { localDevelopment, collector, signal, maxBytes }: ReadOptions & { signal: AbortSignal },
): Promise<UpstreamGeneration> {
  const json = await withReadErrors(
    extractBase64(bodyChunks(response, "bulk", maxBytes), {
      open: () => collector.open(),
      textMaxBytes: TEXT_MAX_BYTES,
    }),
  );
  const parsed = parseResponse(json.value);
  if (parsed === undefined) throw new GatewayError(failureWithoutImage(json.value));
  const images: GeneratedImage[] = [];
  let problem: CheckedImage | undefined;
  for (const { source, revisedPrompt } of parsed.images) {
    // After the timeout, the images that are there are still delivered.
    if (images.length === n || signal.aborted) break;
    const image = await loadImage(source, json, collector, { localDevelopment, signal });
    if ("problem" in image) problem ??= image;
    else images.push({ ...image, revisedPrompt });
  }
  if (images.length === 0) requireImage(orProblem(problem));
  const { usage, isChatUsage, svgUsage, resolved } = parsed;
  const returned = parsed.images.length;
  return { images, returned, usage, isChatUsage, svgUsage, resolved };
}

async function readStreamedGeneration(
  response: Response,
  { collector, onPartialImage, sent, maxBytes }: ReadOptions & { sent: SentTexts },
): Promise<UpstreamGeneration> {
  const { image, usage, resolved } = await withReadErrors(
    readEventStream(bodyChunks(response, "live", maxBytes), { collector, onPartialImage, sent }),
  );
  const images = [{ ...image, revisedPrompt: undefined }];
  return { images, returned: 1, usage, isChatUsage: false, svgUsage: undefined, resolved };
}

function bodyChunks(
  { body }: Response,
  mode: ReadMode,
  maxBytes: number,
): AsyncIterable<Uint8Array> {
  if (body === null) throw invalidResponse("it is empty");
  return readChunks(body, maxBytes, mode);
}

/** Awaits the reading of a response and translates its errors to `upstream_invalid_response`. */
async function withReadErrors<Result>(reading: Promise<Result>): Promise<Result> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    if (error instanceof TooManyBytes) {
      throw invalidResponse(
        `it is too large (more than ${Math.floor(error.limitBytes / MIB)} MiB)`,
      );
    }
    if (error instanceof TooMuchText) {
      const limit = `${TEXT_MAX_BYTES / MIB} MiB`;
      throw invalidResponse(`it is too large (more than ${limit} besides its images)`);
    }
    if (error instanceof SyntaxError) throw invalidResponse("it is not valid JSON");
    throw invalidResponse("it ended early");
  }
}

/** Returns the beginning of an error body; an empty string if it cannot be read. */
async function readErrorBody(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    if (response.body === null) return text;
    for await (const chunk of readChunks(response.body, ERROR_BODY_MAX_BYTES)) {
      text += decoder.decode(chunk, { stream: true });
    }
  } catch {
    // Too long or cut off. The status is enough.
  }
  return text;
}
