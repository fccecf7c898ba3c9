import { version } from "../../package.json";
import type { UpstreamConfig } from "../config.ts";
import type { Resolved, Usage } from "../contract/record.ts";
import type { ImageRequest } from "../contract/request.ts";
import { GatewayError, type Failure } from "../errors.ts";
import type { ImageType } from "../lib/image-type.ts";
import { liftBase64, type LiftedJson } from "../lib/lift-base64.ts";
import { chunksOf, TooManyBytes } from "../lib/streams.ts";
import { readAnswer } from "./dialects.ts";
import { pictureBytes } from "./pictures.ts";
import { judge } from "./refusal.ts";
import { upstreamBody } from "./request.ts";
import { retryDelayMs } from "./retry.ts";

/** What the upstream made. */
export interface UpstreamGeneration {
  images: Picture[];
  usage: Usage;
  resolved: Resolved;
}

export interface Picture {
  type: ImageType;
  bytes: Uint8Array<ArrayBuffer>;
  revisedPrompt: string | undefined;
}

/** Base64 of 48 MiB of pictures, which leaves an isolate of 128 MB room to work. */
const ANSWER_MAX_BYTES = 64 * 1024 * 1024;
/** An error's text is short; of a longer one its beginning is enough. */
const REFUSAL_MAX_BYTES = 64 * 1024;

const SEND_OPTIONS = { method: "POST", redirect: "manual" } as const;

/**
 * Has the upstream make the pictures of a request: sends it, again where nothing was made, and reads
 * the answer in whichever dialect it comes. The whole of it ends within the configured time.
 *
 * @param localDevelopment whether a picture may be fetched by http, or from this machine
 * @throws {GatewayError} `misconfigured` without a key; `moderation_blocked` and `upstream_*`
 */
export async function dispatch(
  request: ImageRequest,
  config: UpstreamConfig,
  localDevelopment: boolean,
): Promise<UpstreamGeneration> {
  const { apiKey, timeoutSeconds } = config;
  if (apiKey === undefined) {
    throw new GatewayError({ code: "misconfigured", problems: [MISSING_KEY] });
  }
  const deadlineMs = Date.now() + timeoutSeconds * 1000;
  const signal = AbortSignal.timeout(timeoutSeconds * 1000);
  try {
    const response = await send(request, config, apiKey, { signal, deadlineMs });
    return await readGeneration(response, request.n, localDevelopment, signal);
  } catch (error) {
    // Whatever was thrown by then, the reason is the time.
    if (signal.aborted) throw new GatewayError({ code: "upstream_timeout", timeoutSeconds });
    throw error;
  }
}

/** Said by an answer and at the start of local development alike. */
const MISSING_KEY =
  "UPSTREAM_API_KEY is not set (npx wrangler secret put UPSTREAM_API_KEY, or a line in .dev.vars)";

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
          accept: "application/json",
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
  localDevelopment: boolean,
  signal: AbortSignal,
): Promise<UpstreamGeneration> {
  const json = await readJson(response);
  const answer = readAnswer(json.value);
  if (answer === undefined) throw unusable("it holds no picture");
  const images: Picture[] = [];
  for (const { text, revisedPrompt } of answer.pictures.slice(0, n)) {
    const { bytes, type } = await pictureBytes(text, json, { localDevelopment, signal });
    images.push({ bytes, type, revisedPrompt });
  }
  return { images, usage: answer.usage, resolved: answer.resolved };
}

async function readJson(response: Response): Promise<LiftedJson> {
  if (response.body === null) throw unusable("it is empty");
  try {
    return await liftBase64(chunksOf(response.body, ANSWER_MAX_BYTES));
  } catch (error) {
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

function unusable(reason: string): GatewayError {
  const failure: Failure = { code: "upstream_invalid_response", reason };
  return new GatewayError(failure);
}
