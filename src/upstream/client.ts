import { version } from "../../package.json";
import { MISSING_KEY, type UpstreamConfig } from "../config/environment.ts";
import type { Resolved, Usage } from "../contract/record.ts";
import type { ImageRequest } from "../contract/request.ts";
import { GatewayError } from "../errors/failure.ts";
import { extractBase64 } from "../lib/extract-base64.ts";
import { chunksOf, TooManyBytes, type Reading } from "../lib/streams.ts";
import { readAnswer } from "./response-formats.ts";
import { readEventStream, type PartialPicture } from "./event-stream.ts";
import { PictureKeeper, pictureOf, unusable, type Picture, type PictureSink } from "./images.ts";
import { judge } from "./error-response.ts";
import { upstreamBody } from "./request.ts";
import { retryDelayMs } from "./retry.ts";

/** What the upstream made; the bytes are in the sink. */
export interface UpstreamGeneration {
  images: MadeImage[];
  usage: Usage;
  resolved: Resolved;
}

export interface MadeImage extends Picture {
  revisedPrompt: string | undefined;
}

export interface DispatchOptions {
  config: UpstreamConfig;
  /** Whether a picture may be fetched by http, or from this machine. */
  localDevelopment: boolean;
  /** Takes the pictures one at a time, partial ones too. */
  sink: PictureSink;
  /** Told of each partial image as soon as it is in the sink. */
  onPartial: (partial: PartialPicture) => void;
}

/** Base64 of ten pictures of 25 MiB would be more than anybody makes; of this, few are ever held. */
const ANSWER_MAX_BYTES = 128 * 1024 * 1024;
/** An error's text is short; of a longer one its beginning is enough. */
const REFUSAL_MAX_BYTES = 64 * 1024;

const SEND_OPTIONS = { method: "POST", redirect: "manual" } as const;

/**
 * Has the upstream make the pictures of a request: sends it, again where nothing was made, and reads
 * the answer in whichever dialect it comes. The whole of it ends within the configured time.
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
  // Not AbortSignal.timeout: its timer would keep an object in memory, and on the bill, to its end.
  const timeout = new AbortController();
  const { signal } = timeout;
  const timer = setTimeout(() => timeout.abort(), timeoutSeconds * 1000);
  try {
    const response = await send(request, options.config, apiKey, { signal, deadlineMs });
    const secrets = [apiKey, request.prompt];
    return isEventStream(response)
      ? await readStreamed(response, options, secrets)
      : await readGeneration(response, request.n, options, signal);
  } catch (error) {
    // Whatever was thrown by then, the reason is the time.
    if (signal.aborted) throw new GatewayError({ code: "upstream_timeout", timeoutSeconds });
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** A server may answer a request for a stream with JSON, and that is as good. */
function isEventStream(response: Response): boolean {
  return /^text\/event-stream\b/i.test(response.headers.get("content-type") ?? "");
}

/** A successful response, after as many attempts as are allowed and safe. */
async function send(
  request: ImageRequest,
  { baseUrl, maxRetries }: UpstreamConfig,
  apiKey: string,
  { signal, deadlineMs }: { signal: AbortSignal; deadlineMs: number },
): Promise<Response> {
  const body = JSON.stringify(upstreamBody(request));
  for (let attempt = 1; ; attempt += 1) {
    let response: Response;
    try {
      response = await fetch(`${baseUrl}/images/generations`, {
        ...SEND_OPTIONS,
        headers: {
          accept: request.options?.stream === true ? "text/event-stream" : "application/json",
          authorization: `Bearer ${apiKey}`,
          "content-type": "application/json",
          "user-agent": `darkroom/${version}`,
        },
        body,
        signal,
      });
    } catch {
      // The runtime does not tell a refused connection from one that was cut after the request
      // went out, so this may have been paid for.
      throw new GatewayError({ code: "upstream_unreachable", mayHaveCharged: true });
    }
    if (response.ok) return response;

    const refusal = {
      status: response.status,
      retryAfter: response.headers.get("retry-after"),
      text: await readBeginning(response),
    };
    const { failure, retryable } = judge(refusal, [apiKey, request.prompt], Date.now());
    const askedSeconds =
      failure.code === "upstream_rate_limited" ? failure.retryAfterSeconds : undefined;
    const delayMs = retryable
      ? retryDelayMs(attempt, maxRetries, askedSeconds, Math.random())
      : undefined;
    // A wait that nothing can follow would only hide why.
    if (delayMs === undefined || Date.now() + delayMs >= deadlineMs) {
      throw new GatewayError(failure);
    }
    await scheduler.wait(delayMs, { signal });
  }
}

async function readGeneration(
  response: Response,
  n: number,
  { localDevelopment, sink }: DispatchOptions,
  signal: AbortSignal,
): Promise<UpstreamGeneration> {
  const keeper = new PictureKeeper(sink);
  const json = await reading(
    extractBase64(chunksOfBody(response, "bulk"), (bytes) => keeper.keep(bytes)),
  );
  const answer = readAnswer(json.value);
  if (answer === undefined) throw unusable("it holds no picture");
  const images: MadeImage[] = [];
  for (const { text, revisedPrompt } of answer.pictures.slice(0, n)) {
    const picture = await pictureOf(text, json, keeper, { localDevelopment, signal });
    images.push({ ...picture, revisedPrompt });
  }
  return { images, usage: answer.usage, resolved: answer.resolved };
}

async function readStreamed(
  response: Response,
  { sink, onPartial }: DispatchOptions,
  secrets: readonly string[],
): Promise<UpstreamGeneration> {
  const keeper = new PictureKeeper(sink);
  const { picture, usage, resolved } = await reading(
    readEventStream(chunksOfBody(response, "live"), { keeper, onPartial, secrets }),
  );
  return { images: [{ ...picture, revisedPrompt: undefined }], usage, resolved };
}

function chunksOfBody({ body }: Response, how: Reading): AsyncIterable<Uint8Array> {
  if (body === null) throw unusable("it is empty");
  return chunksOf(body, ANSWER_MAX_BYTES, how);
}

/** What went wrong while an answer was read, as the failure that it is. */
async function reading<Answer>(work: Promise<Answer>): Promise<Answer> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    if (error instanceof TooManyBytes) throw unusable("it is too large");
    if (error instanceof SyntaxError) throw unusable("it is no JSON");
    throw unusable("it broke off");
  }
}

/** The beginning of a refusal's text; empty where it cannot be read. */
async function readBeginning(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    if (response.body === null) return text;
    for await (const chunk of chunksOf(response.body, REFUSAL_MAX_BYTES)) {
      text += decoder.decode(chunk, { stream: true });
    }
  } catch {
    // Too long or cut: the status says enough.
  }
  return text;
}
