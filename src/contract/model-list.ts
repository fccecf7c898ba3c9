import { z } from "@hono/zod-openapi";
import type { ServedModel } from "./catalog.ts";
import { once } from "../lib/once.ts";
import {
  BACKGROUNDS,
  knownModel,
  MAX_PARTIAL_IMAGES,
  MODERATIONS,
  OUTPUT_FORMATS,
  RESPONSE_FORMATS,
  type ModelRules,
} from "./models.ts";
import { priceOf, type Prices } from "./pricing.ts";
import { replacementOf, successorAt, type RetirementPolicy } from "./retirement.ts";

const sizesSchema = once(() =>
  z.union([
    z.object({ kind: z.literal("listed"), sizes: z.array(z.string()) }),
    z.object({
      kind: z.literal("free"),
      multiple_of: z.int(),
      max_edge: z.int(),
      max_aspect_ratio: z.int(),
      min_pixels: z.int(),
      max_pixels: z.int(),
    }),
  ]),
);

const priceSchema = once(() =>
  z.union([
    z
      .object({ text_in: z.number(), image_in: z.number(), image_out: z.number() })
      .openapi({ description: "USD per million tokens." }),
    z.object({ per_image: z.number() }).openapi({
      description: "USD per image of the default size and quality.",
    }),
  ]),
);

/** A model in the API's form, with what it takes and costs. */
export const modelSchema = once(() =>
  z
    .object({
      id: z.string(),
      object: z.literal("model"),
      created: z.int().openapi({ description: "Its release, Unix seconds; 0 where not known." }),
      owned_by: z.string(),
      shutdown_date: z
        .string()
        .nullable()
        .openapi({ description: "The day on which OpenAI shuts it down, at 00:00 UTC." }),
      replaced_by: z.string().nullable().openapi({
        description:
          "The model that is sent upstream in its place from that day on; null if none is.",
      }),
      default: z
        .boolean()
        .openapi({ description: "Whether a request that names no model gets this one." }),
      prompt_max_chars: z.int(),
      max_images: z.int(),
      sizes: sizesSchema(),
      default_size: z.string(),
      qualities: z.array(z.string()),
      styles: z.array(z.string()),
      backgrounds: z.array(z.string()),
      output_formats: z.array(z.string()),
      moderations: z.array(z.string()),
      max_partial_images: z.int(),
      response_formats: z.array(z.string()),
      default_response_format: z.string(),
      price: priceSchema(),
    })
    .openapi("Model"),
);

export const modelListSchema = once(() =>
  z.object({ object: z.literal("list"), data: z.array(modelSchema()) }).openapi("ModelList"),
);

export interface ListConfiguration {
  promptMaxChars: number;
  defaultModel: string;
  prices: Prices;
  upstream: RetirementPolicy;
}

/**
 * A model as it is listed: the API's four fields and, from the table that validates, what may be
 * asked of it. Every list has its default first.
 *
 * @param configuration its limit of a prompt's length (the model's own still holds), its default, its
 *   own prices, and what it does about retired models
 * @param nowMs milliseconds since the epoch: the price is that of the model that is sent upstream now
 */
export function listedModel(
  model: ServedModel,
  { promptMaxChars, defaultModel, prices, upstream }: ListConfiguration,
  nowMs: number,
): z.infer<ReturnType<typeof modelSchema>> {
  const { id, upstreamId, rules } = model;
  const [quality] = rules.qualities;
  const known = knownModel(id) ?? knownModel(upstreamId);
  const upstreamModel = successorAt(model, upstream, nowMs) ?? upstreamId;
  const forOptions = <Value>(values: readonly Value[]) => (rules.imageOptions ? [...values] : []);
  return {
    id,
    object: "model",
    created: known === undefined ? 0 : Date.parse(known.released) / 1000,
    owned_by: known === undefined ? "upstream" : "openai",
    shutdown_date: knownModel(upstreamId)?.shutdown ?? null,
    replaced_by: replacementOf(model, upstream)?.successor ?? null,
    default: id === defaultModel,
    prompt_max_chars: Math.min(promptMaxChars, rules.promptMaxChars),
    max_images: rules.maxImages,
    sizes: listedSizes(rules),
    default_size: rules.defaultSize,
    qualities: [...rules.qualities],
    styles: [...(rules.styles ?? [])],
    backgrounds: forOptions(BACKGROUNDS),
    output_formats: forOptions(OUTPUT_FORMATS),
    moderations: forOptions(MODERATIONS),
    max_partial_images: rules.imageOptions ? MAX_PARTIAL_IMAGES : 0,
    response_formats: [...RESPONSE_FORMATS],
    default_response_format: rules.defaultResponseFormat,
    price: priceOf({ upstreamModel, size: rules.defaultSize, quality }, prices),
  };
}

function listedSizes({ sizes }: ModelRules): z.infer<ReturnType<typeof sizesSchema>> {
  if (sizes.kind === "listed") return { kind: "listed", sizes: [...sizes.sizes] };
  return {
    kind: "free",
    multiple_of: sizes.multipleOf,
    max_edge: sizes.maxEdge,
    max_aspect_ratio: sizes.maxAspectRatio,
    min_pixels: sizes.minPixels,
    max_pixels: sizes.maxPixels,
  };
}
