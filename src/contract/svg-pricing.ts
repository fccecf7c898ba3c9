import * as z from "zod";
import type { SvgAuthor } from "./image-spec.ts";
import { MAX_TOKENS, type SvgUsage } from "./usage.ts";

/** The price of a model that writes SVG, in USD per million tokens, and the most tokens that it uses. */
export interface SvgModel {
  text_in: number;
  text_out: number;
  /** The tokens of one SVG, input, reasoning and output together. */
  max_tokens: number;
}

/** The models that may write an SVG, by id. */
export type SvgModels = ReadonlyMap<string, SvgModel>;

/** A price in USD. */
export const usd = z.number().min(0).max(10_000);

/** The variable `SVG_MODELS`: `{"model": {"text_in", "text_out", "max_tokens"}}`. */
export const svgModelsSchema = z
  .record(
    z.string().min(1).max(128),
    z.strictObject({
      text_in: usd,
      text_out: usd,
      max_tokens: z.int().min(1).max(MAX_TOKENS),
    }),
  )
  .transform((models): SvgModels => new Map(Object.entries(models)));

/**
 * Returns the upper bound of the cost of writing an SVG, in micro-dollars. It counts every token at the
 * higher price. Without a requested model it is that of the most expensive one.
 */
export function svgUpperBound(author: SvgAuthor | undefined, models: SvgModels): number {
  return mostExpensive(
    [author?.model],
    models,
    ({ text_in, text_out, max_tokens }) => max_tokens * Math.max(text_in, text_out),
  );
}

/**
 * Returns the cost of writing an SVG, in micro-dollars, from the tokens that the upstream reports; the upper
 * bound if it reports none. If the upstream reports another model than the client requested, the more
 * expensive one counts.
 */
export function svgCost(
  author: SvgAuthor | undefined,
  models: SvgModels,
  usage: SvgUsage | undefined,
): number {
  if (usage === undefined || usage.output_tokens === 0) return svgUpperBound(author, models);
  return mostExpensive(
    [author?.model, usage.model],
    models,
    ({ text_in, text_out }) => usage.input_tokens * text_in + usage.output_tokens * text_out,
  );
}

/**
 * Returns the cost of the most expensive model of those that are named. If none is named, or the
 * configuration has none of them, all models count.
 */
function mostExpensive(
  ids: readonly (string | undefined)[],
  models: SvgModels,
  costOf: (model: SvgModel) => number,
): number {
  const named = ids.flatMap((id) => (id === undefined ? [] : (models.get(id) ?? [])));
  const candidates = named.length === 0 ? [...models.values()] : named;
  return Math.max(0, ...candidates.map((model) => Math.ceil(costOf(model))));
}
