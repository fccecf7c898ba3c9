import * as z from "zod";
import type { FurtherParameters, ImageOptions } from "./image-spec.ts";
import { baseModelId, MAX_PARTIAL_IMAGES, OPTION_DEFAULTS } from "./models.ts";
import { outputTokens } from "./output-tokens.ts";
import type { GeneratedImages, GenerationRecord, Resolved } from "./record.ts";
import { svgCost, svgUpperBound, usd, type SvgModels } from "./svg-pricing.ts";
import { tokenRowOf } from "./token-row.ts";

/** Millionths of a US dollar; always whole. */
export type MicroDollars = number;

export const MICRO_PER_DOLLAR = 1_000_000;

/** The price of a model per token, in USD per million tokens, which is micro-dollars per token. */
export interface TokenPrice {
  text_in: number;
  image_in: number;
  image_out: number;
}

/** The price of a model per image, in USD. */
export interface ImagePrice {
  per_image: number;
}

export type Price = TokenPrice | ImagePrice;

/** Prices by model id. They override the table below. */
export type Prices = ReadonlyMap<string, Price>;

/** The variable `PRICES`: `{"model": {"text_in", "image_in", "image_out"} or {"per_image"}}`. */
export const pricesSchema = z
  .record(
    z.string(),
    z.union([
      z.strictObject({ text_in: usd, image_in: usd, image_out: usd }),
      z.strictObject({ per_image: usd }),
    ]),
  )
  .transform((prices): Prices => new Map(Object.entries(prices)));

const GPT_IMAGE_1: TokenPrice = { text_in: 5, image_in: 10, image_out: 40 };
const GPT_IMAGE_1_MINI: TokenPrice = { text_in: 2, image_in: 2.5, image_out: 8 };
const GPT_IMAGE_1_5: TokenPrice = { text_in: 5, image_in: 8, image_out: 32 };
/** Also of gpt-image-2.5 and 2.6: the pages of these models name the same prices. */
const GPT_IMAGE_2: TokenPrice = { text_in: 5, image_in: 8, image_out: 30 };

/** OpenAI's price list and its pages of the models, November 2026. */
const TOKEN_PRICES: readonly [prefix: string, price: TokenPrice][] = [
  ["gpt-image-1-mini", GPT_IMAGE_1_MINI],
  ["gpt-image-1.5", GPT_IMAGE_1_5],
  ["chatgpt-image-latest", GPT_IMAGE_1_5],
  ["gpt-image-1", GPT_IMAGE_1],
  ["gpt-image-2", GPT_IMAGE_2],
];
/** The most expensive price: that of a model that the table does not have. */
const MOST_EXPENSIVE = GPT_IMAGE_1;

/** OpenAI's price list for dall-e, USD per image, by quality and size. */
const DALL_E_2: ReadonlyMap<string, number> = new Map([
  ["256x256", 0.016],
  ["512x512", 0.018],
]);
const DALL_E_2_LARGEST = 0.02;
const DALL_E_3 = { standard: 0.04, standardWide: 0.08, hd: 0.08, hdWide: 0.12 };

/** The parameters that decide the price of an image. */
interface Priced {
  /** The model that the client requests. */
  model: string;
  upstreamModel: string;
  retiredModel?: string;
  size: string;
  quality: string;
}

/** The parameters that decide the cost of a request. */
export interface PricedRequest extends Priced {
  prompt: string;
  n: number;
  options: Pick<ImageOptions, "output_format"> | undefined;
  further: FurtherParameters;
}

/** The prices of a gateway. */
export interface PriceList {
  prices: Prices;
  svgModels: SvgModels;
}

/** A completed generation, as far as its cost depends on it. */
export interface ReportedGeneration extends Omit<GeneratedImages, "images" | "returned"> {
  /** The number of images in the response, including those that are not accepted. */
  images: number;
}

/** How the reserved amount grows if images have had more tokens than the tables say. */
export interface TokenBound {
  /** The requested parameters that decide the tokens, as a name. */
  row: string;
  /** The output tokens of one image in the reserved amount. */
  tokens: number;
  /** The price of one more token in each image, in micro-dollars. */
  microPerToken: number;
}

/** The most output tokens of one image for some requested parameters. */
export interface ReportedTokens {
  row: string;
  tokens: number;
}

/** The cost of a request: at most, and in fact. */
export interface Cost {
  upperBound: () => MicroDollars;
  /** How the upper bound depends on tokens; `undefined` for a price per image. */
  tokenBound: () => TokenBound | undefined;
  actual: (reported: ReportedGeneration) => MicroDollars;
  /** The tokens of an image to remember for later upper bounds; `undefined` if none are reported. */
  reportedTokens: (reported: ReportedGeneration) => ReportedTokens | undefined;
}

/** More tokens count as this multiple of the tables: a report must not close a budget. */
const MAX_LEARNED_FACTOR = 4;

/**
 * Returns the cost of a request.
 *
 * The upper bound counts one text token for each byte of the prompt, because no token is shorter, and a
 * fixed overhead. It assumes the most expensive size and quality for `auto`. It includes all images, partial
 * images, and the model that writes an SVG.
 *
 * The actual cost is that of the reported tokens. A report of less than half of the tables' tokens is not
 * plausible, and a chat model counts text: then the tables decide. They count the size and the quality that
 * the upstream reports for `auto`, but never more than the upper bound does.
 */
export function costOf(request: PricedRequest, partialImages: number, list: PriceList): Cost {
  const { n, size, quality, further } = request;
  const price = priceOf(request, list.prices);
  const format = request.options?.output_format ?? OPTION_DEFAULTS.output_format;
  const isSvg = format === "svg";
  const svgBound = () => (isSvg ? svgUpperBound(further.svg, list.svgModels) : 0);
  const svgActual = ({ svgUsage }: ReportedGeneration) =>
    isSvg ? svgCost(further.svg, list.svgModels, svgUsage) : 0;
  if ("per_image" in price) {
    const each = Math.ceil(price.per_image * MICRO_PER_DOLLAR);
    return {
      upperBound: () => each * n + svgBound(),
      tokenBound: () => undefined,
      // The upstream charges what was requested, even if it returns fewer images.
      actual: (reported) => each * n + svgActual(reported),
      reportedTokens: () => undefined,
    };
  }
  const partialTokens = Math.min(partialImages, MAX_PARTIAL_IMAGES) * PARTIAL_IMAGE_TOKENS;
  const textTokens = () => new TextEncoder().encode(request.prompt).byteLength + OVERHEAD_TOKENS;
  const tokensOfImage = (resolved: Pick<Resolved, "size" | "quality"> = {}) =>
    outputTokens({
      upstreamModel: request.upstreamModel,
      size: size === "auto" ? (resolved.size ?? size) : size,
      quality: quality === "auto" ? (resolved.quality ?? quality) : quality,
      isAnimated: format === "gif",
      frameCount: further.frame_count,
    });
  const row = tokenRowOf(request);
  const bound = tokensOfImage().most;
  return {
    upperBound: () =>
      Math.ceil(textTokens() * price.text_in + (bound * n + partialTokens) * price.image_out) +
      svgBound(),
    tokenBound: () => ({ row, tokens: bound, microPerToken: n * price.image_out }),
    actual(reported) {
      const { usage, isChatUsage, resolved, images } = reported;
      const { least, most } = tokensOfImage(resolved);
      const charged = Math.min(n, images);
      const isPlausible =
        !isChatUsage && usage.output_tokens >= (Math.min(least, bound) * charged) / 2;
      const output = isPlausible
        ? usage.output_tokens
        : Math.min(most, bound) * charged + partialTokens;
      const imageIn = Math.min(
        usage.input_tokens,
        usage.input_tokens_details?.["image_tokens"] ?? 0,
      );
      const textIn = usage.input_tokens === 0 ? textTokens() : usage.input_tokens - imageIn;
      return (
        Math.ceil(textIn * price.text_in + imageIn * price.image_in + output * price.image_out) +
        svgActual(reported)
      );
    },
    reportedTokens({ usage, isChatUsage, images }) {
      const output = usage.output_tokens - partialTokens;
      if (isChatUsage || output <= 0) return undefined;
      // An upstream may return fewer images than it generated and reports, or more than requested.
      const tokens = Math.ceil(output / Math.max(n, images));
      return { row, tokens: Math.min(tokens, bound * MAX_LEARNED_FACTOR) };
    },
  };
}

/**
 * Returns the cost of a completed generation: as it was charged, or by today's prices if the record is of a
 * version that did not store the cost.
 */
export function costOfRecord(record: GenerationRecord, list: PriceList): MicroDollars {
  const { model, resolved, usage, images, cost } = record;
  if (cost !== undefined) return cost;
  const { size = "auto", quality = "auto" } = resolved;
  const n = images.length;
  const named = { model, upstreamModel: model, options: undefined, further: {} };
  const { actual } = costOf({ ...named, size, quality, n, prompt: "" }, 0, list);
  return actual({ usage, isChatUsage: false, svgUsage: undefined, resolved, images: n });
}

/**
 * Returns the price of an image of a model, size and quality: per token, or per image. A price under an
 * alias is that of the alias.
 */
export function priceOf(
  { model: requested, upstreamModel, retiredModel, size, quality }: Priced,
  overrides: Prices,
): Price {
  const model = baseModelId(upstreamModel);
  const alias = retiredModel === undefined ? requested : upstreamModel;
  const override = [alias, baseModelId(alias), upstreamModel, model]
    .map((id) => overrides.get(id))
    .find((price) => price !== undefined);
  if (override !== undefined) return override;
  if (model === "dall-e-2") return { per_image: DALL_E_2.get(size) ?? DALL_E_2_LARGEST };
  if (model === "dall-e-3") {
    const isWide = size !== "1024x1024";
    if (quality === "hd") return { per_image: isWide ? DALL_E_3.hdWide : DALL_E_3.hd };
    return { per_image: isWide ? DALL_E_3.standardWide : DALL_E_3.standard };
  }
  return TOKEN_PRICES.find(([prefix]) => model.startsWith(prefix))?.[1] ?? MOST_EXPENSIVE;
}

/** The tokens that a model adds to a prompt. */
const OVERHEAD_TOKENS = 100;

/** OpenAI's image generation guide, "Partial images cost": each is 100 image output tokens more. */
const PARTIAL_IMAGE_TOKENS = 100;
