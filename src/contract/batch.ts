import * as z from "zod";
import { GatewayError } from "../errors/failure.ts";
import type { WireError } from "../errors/wire.ts";
import { requireNoStream, type DeliveryView, type JobStatus } from "./job.ts";
import { jsonObject, parseBody } from "./parse.ts";
import { parseImageRequest, type ImageRequest, type RequestRules } from "./request.ts";
import type { ImagesResponse } from "./response.ts";

export const MAX_REQUESTS = 100;

export const CUSTOM_ID_MAX_CHARS = 64;

/** The limit of a batch, in bodies of one request. Few prompts are as long as the limit allows. */
export const BATCH_BODIES = 16;

const body = z.strictObject({
  requests: z.array(z.unknown()).min(1).max(MAX_REQUESTS),
});

const item = z.strictObject({
  custom_id: z.string().min(1).max(CUSTOM_ID_MAX_CHARS),
  body: z.unknown(),
});

const PARAMETERS = ["requests", "custom_id", "body"];

/** One request of a batch. */
export interface BatchRequest {
  /** The client's name for the request; unique in its batch. */
  customId: string;
  request: ImageRequest;
}

/**
 * Returns the valid requests in the body of a batch. One invalid request makes the whole batch invalid,
 * before any generation starts.
 *
 * @param json the body as parsed, not trusted; without `webhook_url`
 * @param nowMs milliseconds since the epoch
 * @throws {GatewayError} the first problem and its place
 */
export function parseBatch(json: unknown, rules: RequestRules, nowMs: number): BatchRequest[] {
  const { requests } = parseBody(body, json, PARAMETERS);
  const customIds = new Set<string>();
  return requests.map((value, index) => {
    const at = `requests[${index}]`;
    const { custom_id: customId, body: request } = located(at, () =>
      parseBody(item, value, PARAMETERS),
    );
    if (customIds.has(customId)) {
      const problem = "must be unique in the batch";
      const failure = { code: "malformed_value", param: "custom_id", problem } as const;
      throw new GatewayError({ code: "invalid_batch_request", at, failure });
    }
    customIds.add(customId);
    return {
      customId,
      request: located(`${at}.body`, () => {
        const parsed = parseImageRequest(jsonObject(request), rules, nowMs);
        requireNoStream(parsed);
        return parsed;
      }),
    };
  });
}

/** Calls `parse` for a request of a batch. A failure names the place of the request. */
export function located<Result>(at: string, parse: () => Result): Result {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    throw new GatewayError({ code: "invalid_batch_request", at, failure: error.failure });
  }
}

/** A batch with the results so far, as clients see it. */
export interface BatchView {
  id: string;
  object: "image.batch";
  /** Unix seconds. */
  created: number;
  status: "in_progress" | "completed";
  request_counts: { total: number; completed: number; failed: number; cancelled: number };
  /** In the order of the requests. */
  results: BatchResult[];
  delivery?: DeliveryView | undefined;
}

/** One job of a batch. It has a `response` if it is completed, an `error` if it has failed or is cancelled. */
export interface BatchResult {
  custom_id: string;
  job: string;
  status: JobStatus;
  response?: ImagesResponse | undefined;
  error?: WireError["body"]["error"] | undefined;
  /** Present if texts of the result were too long for a batch. The response of the job has them. */
  truncated?: true | undefined;
}
