import * as z from "zod";
import {
  ATTEMPT_OUTCOMES,
  DELIVERY_STATUSES,
  JOB_STATUSES,
  type DeliveryView,
  type PendingJobResponse,
} from "../contract/job.ts";
import type { ImagesResponse, PendingResponse, WireUsage } from "../contract/response.ts";
import type { SvgUsage } from "../contract/usage.ts";
import type { WireError } from "../errors/wire.ts";
import { exactly } from "./exactly.ts";

/** A point in time. */
export const unixSeconds = z.int().describe("Unix seconds.");

const usage = exactly<WireUsage>()(
  z.object({
    input_tokens: z.int(),
    output_tokens: z.int(),
    total_tokens: z.int(),
    input_tokens_details: z.record(z.string(), z.int()),
    output_tokens_details: z.record(z.string(), z.int()).optional(),
    prompt_tokens: z.int().describe("The reference document's `input_tokens`."),
    completion_tokens: z.int().describe("The reference document's `output_tokens`."),
  }),
).meta({ id: "Usage" });

/** The JSON response of a generation. */
export const imagesResponse = exactly<ImagesResponse>()(
  z.object({
    id: z.string(),
    object: z.literal("chat.completion"),
    created: z.int(),
    model: z.string(),
    background: z.string().optional(),
    output_format: z.string().optional(),
    quality: z.string().optional(),
    size: z.string().optional(),
    data: z.array(
      z.object({
        b64_json: z.string().optional(),
        url: z.url().optional(),
        revised_prompt: z.string().optional(),
      }),
    ),
    choices: z.array(
      z.object({
        index: z.int(),
        message: z.object({ role: z.literal("assistant"), content: z.string() }),
        finish_reason: z.literal("stop"),
      }),
    ),
    usage,
    svg_usage: exactly<SvgUsage>()(
      z.object({
        model: z.string(),
        input_tokens: z.int(),
        output_tokens: z.int(),
        reasoning_tokens: z.int(),
        total_tokens: z.int(),
      }),
    )
      .optional()
      .describe("The tokens of the model that wrote an SVG."),
    safety_identifier: z
      .string()
      .optional()
      .describe("The `safety_identifier` of this request, or else its `user`."),
  }),
).meta({ id: "ImagesResponse" });

/** The body of every error response. */
export const errorBody = exactly<WireError["body"]>()(
  z.object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string().nullable(),
      moderation_details: z.unknown().optional(),
    }),
  }),
).meta({ id: "Error" });

/** The response while a generation is queued or in progress. */
export const pendingGeneration = exactly<PendingResponse>()(
  z.object({ id: z.string(), status: z.enum(["queued", "in_progress"]), created: z.int() }),
).meta({ id: "PendingGeneration" });

/** The webhook delivery of a job or batch. */
export const delivery = exactly<DeliveryView>()(
  z.object({
    event: z.string().describe("The id of the event, also sent as the header `webhook-id`."),
    status: z
      .enum(DELIVERY_STATUSES)
      .describe("`stopped`: the receiver responded with 410. `failed`: the last attempt failed."),
    attempts: z.array(
      z.object({
        at: unixSeconds,
        outcome: z.enum(ATTEMPT_OUTCOMES),
        status: z.int().optional().describe("The status of the receiver's response."),
      }),
    ),
    next_attempt_at: unixSeconds.optional(),
  }),
).meta({ id: "Delivery" });

/** The response while a job is queued or in progress. */
export const pendingJob = exactly<PendingJobResponse>()(
  z.object({
    id: z.string(),
    job: z.string().describe("The same as `id`. Every other response about the job has it too."),
    status: z.enum(JOB_STATUSES),
    created: unixSeconds,
    delivery: delivery.optional(),
  }),
).meta({ id: "PendingJob" });
