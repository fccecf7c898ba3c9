import * as z from "zod";
import { IMAGE_TYPES, type ImageType } from "../lib/image-type.ts";
import type { ImageSpec } from "./image-spec.ts";
import { svgUsageSchema, usageSchema, type SvgUsage, type Usage } from "./usage.ts";

/** Changes with the record's shape. An entry of another version is a miss. */
const RECORD_VERSION = 1;

/** The values that the upstream chose for `auto`. */
const resolvedSchema = z.object({
  background: z.string().optional(),
  output_format: z.string().optional(),
  quality: z.string().optional(),
  size: z.string().optional(),
});

const recordSchema = z.object({
  version: z.literal(RECORD_VERSION),
  /** `gen_…`: names the generation everywhere. */
  id: z.string(),
  /** Unix seconds. */
  created: z.int(),
  /** The model that generated it, by its id upstream. */
  model: z.string(),
  resolved: resolvedSchema,
  usage: usageSchema,
  /** The tokens of the model that wrote an SVG. */
  svg_usage: svgUsageSchema.optional(),
  /** What the generation cost, in micro-dollars. Absent in records of version 0.1.0. */
  cost: z.int().min(0).optional(),
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

/** A completed generation without the bytes of its images. Every form of a response is built from it. */
export type GenerationRecord = z.infer<typeof recordSchema>;
export type Resolved = z.infer<typeof resolvedSchema>;

/** Returns the record in a stored value; `undefined` if it is invalid or of another version. */
export function parseRecord(value: unknown): GenerationRecord | undefined {
  return recordSchema.safeParse(value).data;
}

/**
 * Returns true if the upstream has generated fewer images than were requested.
 *
 * @param n the number of requested images
 */
export function isPartial({ images }: GenerationRecord, n: number): boolean {
  return images.length < n;
}

/** An upstream's generation, without the bytes of its images. */
export interface GeneratedImages {
  images: readonly { type: ImageType; sizeBytes: number; revisedPrompt: string | undefined }[];
  /** The number of images in the response, including those that are not accepted or not requested. */
  returned: number;
  usage: Usage;
  /** True if the usage is that of a chat model, which reports text tokens. */
  isChatUsage: boolean;
  svgUsage: SvgUsage | undefined;
  /** The values that the upstream chose for `auto`. */
  resolved: Resolved;
}

/**
 * Returns the record of a generation that the upstream has completed.
 *
 * @param cost micro-dollars
 * @param nowSeconds Unix seconds by the gateway's own clock, so that ages are right
 */
export function newRecord(
  id: string,
  spec: ImageSpec,
  generated: GeneratedImages,
  cost: number,
  nowSeconds: number,
): GenerationRecord {
  return {
    version: RECORD_VERSION,
    id,
    created: nowSeconds,
    model: spec.upstreamModel,
    resolved: resolvedParameters(spec, generated),
    usage: generated.usage,
    svg_usage: generated.svgUsage,
    cost,
    images: generated.images.map(({ type, sizeBytes, revisedPrompt }) => ({
      type,
      bytes: sizeBytes,
      revised_prompt: revisedPrompt,
    })),
  };
}

/**
 * Returns the parameters as the upstream reports them, else as requested unless that is `auto`. The
 * format is that of the bytes.
 */
function resolvedParameters(spec: ImageSpec, { resolved, images }: GeneratedImages): Resolved {
  return {
    background: resolved.background ?? definite(spec.options?.background),
    output_format: images[0]?.type,
    quality: resolved.quality ?? definite(spec.quality),
    size: resolved.size ?? definite(spec.size),
  };
}

function definite(value: string | undefined): string | undefined {
  return value === "auto" ? undefined : value;
}
