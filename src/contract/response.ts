import { z } from "@hono/zod-openapi";
import { once } from "../lib/once.ts";
import type { GenerationRecord, Usage } from "./record.ts";

const usageSchema = once(() =>
  z
    .object({
      input_tokens: z.int(),
      output_tokens: z.int(),
      total_tokens: z.int(),
      input_tokens_details: z.record(z.string(), z.int()).optional(),
      output_tokens_details: z.record(z.string(), z.int()).optional(),
      prompt_tokens: z.int().openapi({ description: "The reference document's input_tokens." }),
      completion_tokens: z
        .int()
        .openapi({ description: "The reference document's output_tokens." }),
    })
    .openapi("Usage"),
);

/** The answer in JSON: the Images API's response and the reference document's at once. */
export const imagesResponseSchema = once(() =>
  z
    .object({
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
      usage: usageSchema(),
    })
    .openapi("ImagesResponse"),
);

/** Every error's form. */
export const errorSchema = once(() =>
  z
    .object({
      error: z.object({
        message: z.string(),
        type: z.string(),
        param: z.string().nullable(),
        code: z.string().nullable(),
        moderation_details: z.unknown().optional(),
      }),
    })
    .openapi("Error"),
);

/** The answer in JSON. */
export type ImagesResponse = z.infer<ReturnType<typeof imagesResponseSchema>>;

/** A generation that is not made yet. */
export const pendingSchema = once(() =>
  z
    .object({ id: z.string(), status: z.enum(["queued", "in_progress"]), created: z.int() })
    .openapi("PendingGeneration"),
);

/**
 * The address of an image; immutable for ever, because no id is used twice.
 *
 * @param origin of the gateway
 */
export function imageUrl(record: GenerationRecord, index: number, origin: string): string {
  return `${origin}/v1/images/${record.id}/${index}.${record.images[index]?.type ?? "png"}`;
}

/** Token counts under both references' names. */
export function wireUsage(counted: Usage): ImagesResponse["usage"] {
  return {
    ...counted,
    prompt_tokens: counted.input_tokens,
    completion_tokens: counted.output_tokens,
  };
}

/**
 * The answer but for `data`, which is the heavy part and written by itself.
 *
 * @param origin of the gateway, for the links in `choices`
 */
export function responseWithoutData(
  record: GenerationRecord,
  origin: string,
): Omit<ImagesResponse, "data"> {
  const { id, created, model, resolved, usage: counted } = record;
  return {
    id,
    object: "chat.completion",
    created,
    model,
    ...resolved,
    choices: record.images.map((_, index) => ({
      index,
      message: {
        role: "assistant",
        content: `![Image ${index + 1}](${imageUrl(record, index, origin)})`,
      },
      finish_reason: "stop",
    })),
    usage: wireUsage(counted),
  };
}

/**
 * The answer with its images by URL.
 *
 * @param origin of the gateway
 */
export function responseWithUrls(record: GenerationRecord, origin: string): ImagesResponse {
  const { choices, usage: counted, ...head } = responseWithoutData(record, origin);
  const data = record.images.map(({ revised_prompt }, index) => ({
    url: imageUrl(record, index, origin),
    revised_prompt,
  }));
  return { ...head, data, choices, usage: counted };
}
