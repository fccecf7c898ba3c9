import { z } from "zod";
import { IMAGE_TYPES } from "../lib/image-type.ts";

/** Token counts in the API's own names; all 0 where the upstream reports none. */
const usageSchema = z.object({
  input_tokens: z.int().min(0),
  output_tokens: z.int().min(0),
  total_tokens: z.int().min(0),
  input_tokens_details: z.record(z.string(), z.int().min(0)).optional(),
  output_tokens_details: z.record(z.string(), z.int().min(0)).optional(),
});

/** What the upstream made of the request's `auto`s. */
const resolvedSchema = z.object({
  background: z.string().optional(),
  output_format: z.string().optional(),
  quality: z.string().optional(),
  size: z.string().optional(),
});

const recordSchema = z.object({
  version: z.literal(1),
  /** `gen_…`: names the generation everywhere. */
  id: z.string(),
  /** Unix seconds. */
  created: z.int(),
  /** The model that made it, as the upstream knows it. */
  model: z.string(),
  resolved: resolvedSchema,
  usage: usageSchema,
  images: z
    .array(
      z.object({
        type: z.enum(IMAGE_TYPES),
        bytes: z.int().min(1),
        revised_prompt: z.string().optional(),
      }),
    )
    .min(1),
});

/**
 * What is known of a generation, beside its images' bytes. Every form of an answer is made from it.
 */
export type GenerationRecord = z.infer<typeof recordSchema>;
export type Usage = z.infer<typeof usageSchema>;
export type Resolved = z.infer<typeof resolvedSchema>;

/** Raised with the record's shape: an entry of another version is a miss. */
export const RECORD_VERSION = 1;

export const NO_USAGE: Usage = { input_tokens: 0, output_tokens: 0, total_tokens: 0 };

/** The record in a stored value; `undefined` when it is none, or of another version. */
export function parseRecord(value: unknown): GenerationRecord | undefined {
  return recordSchema.safeParse(value).data;
}
