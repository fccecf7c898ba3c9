import type { Catalog, ServedModel } from "./catalog.ts";
import {
  BACKGROUNDS,
  FRAMES,
  knownModel,
  MAX_PARTIAL_IMAGES,
  MODERATIONS,
  RESPONSE_FORMATS,
  type ModelRules,
} from "./models.ts";
import { priceOf, type Price, type Prices } from "./pricing.ts";
import { outputFormats, promptLimit, QUALITY_WORD, type RequestLimits } from "./request-body.ts";
import { replacementOf, successorAt, withdrawalAt, type RetirementPolicy } from "./retirement.ts";

/** A model in the API's form, with its limits and its price. */
export interface ListedModel {
  id: string;
  object: "model";
  /** The release, in Unix seconds; 0 if unknown. */
  created: number;
  owned_by: string;
  /** The day on which OpenAI shuts the model down, at 00:00 UTC. */
  shutdown_date: string | null;
  /** The model that is sent upstream in its place from that day on; null if none is. */
  replaced_by: string | null;
  /** True if a request without `model` gets this one. */
  default: boolean;
  prompt_max_chars: number;
  max_images: number;
  sizes: ListedSizes;
  default_size: string;
  qualities: string[];
  /** The regular expression of further values of `quality`; null if the list is complete. */
  quality_pattern: string | null;
  styles: string[];
  backgrounds: string[];
  output_formats: string[];
  moderations: string[];
  complexities: string[];
  /** The largest number of frames of a GIF; 0 if the model generates none. */
  max_frames: number;
  /** The models that may write an SVG; empty if the model generates none. */
  svg_models: string[];
  max_partial_images: number;
  response_formats: string[];
  default_response_format: string;
  price: Price;
}

/** The sizes that a model accepts: a list, or any size within bounds. */
type ListedSizes =
  | { kind: "listed"; sizes: string[] }
  | {
      kind: "free";
      multiple_of: number;
      min_edge: number;
      max_edge: number;
      max_aspect_ratio: number;
      min_pixels: number;
      max_pixels: number;
    };

/**
 * Returns the models that a gateway serves now, in the order in which they are listed.
 *
 * @param nowMs milliseconds since the epoch: a model may be retired
 */
export function listedModels(
  { models, upstream }: { models: Catalog; upstream: RetirementPolicy },
  nowMs: number,
): ServedModel[] {
  return [...models.values()].filter((model) => withdrawalAt(model, upstream, nowMs) === undefined);
}

/** The part of the configuration that the list depends on. */
export interface ListConfiguration extends Pick<RequestLimits, "promptMaxChars" | "svgModels"> {
  defaultModel: string;
  prices: Prices;
  upstream: RetirementPolicy;
}

/**
 * Returns a model in the API's form: the API's four fields, and the limits from the table that
 * validates requests. Each list of values starts with the default.
 *
 * @param configuration.promptMaxChars the gateway's limit; the model's own limit applies as well
 * @param nowMs milliseconds since the epoch: the price is that of the model that is sent upstream now
 */
export function listedModel(
  model: ServedModel,
  { promptMaxChars, svgModels, defaultModel, prices, upstream }: ListConfiguration,
  nowMs: number,
): ListedModel {
  const { id, upstreamId, rules } = model;
  const [quality] = rules.qualities;
  const known = knownModel(id) ?? knownModel(upstreamId);
  const successor = successorAt(model, upstream, nowMs);
  const sent =
    successor === undefined
      ? { upstreamModel: upstreamId }
      : { upstreamModel: successor, retiredModel: upstreamId };
  const formats = outputFormats(rules, svgModels);
  const forOptions = <Value>(values: readonly Value[]) => (rules.imageOptions ? [...values] : []);
  return {
    id,
    object: "model",
    created: known === undefined ? 0 : Date.parse(known.released) / 1000,
    owned_by: known === undefined ? "upstream" : "openai",
    shutdown_date: knownModel(upstreamId)?.shutdown ?? null,
    replaced_by: replacementOf(model, upstream)?.successor ?? null,
    default: id === defaultModel,
    prompt_max_chars: promptLimit(rules, { promptMaxChars }),
    max_images: rules.maxImages,
    sizes: listedSizes(rules),
    default_size: rules.defaultSize,
    qualities: [...rules.qualities],
    quality_pattern: rules.isOpen ? QUALITY_WORD.source : null,
    styles: [...(rules.styles ?? [])],
    backgrounds: forOptions(BACKGROUNDS),
    output_formats: [...formats],
    moderations: forOptions(MODERATIONS),
    complexities: [...rules.complexities],
    max_frames: formats.includes("gif") ? FRAMES.max : 0,
    svg_models: formats.includes("svg") ? [...svgModels.keys()] : [],
    max_partial_images: rules.imageOptions ? MAX_PARTIAL_IMAGES : 0,
    response_formats: [...RESPONSE_FORMATS],
    default_response_format: rules.defaultResponseFormat,
    price: priceOf({ model: id, ...sent, size: rules.defaultSize, quality }, prices),
  };
}

function listedSizes({ sizes }: ModelRules): ListedSizes {
  if (sizes.kind === "listed") return { kind: "listed", sizes: [...sizes.sizes] };
  return {
    kind: "free",
    multiple_of: sizes.multipleOf,
    min_edge: sizes.minEdge,
    max_edge: sizes.maxEdge,
    max_aspect_ratio: sizes.maxAspectRatio,
    min_pixels: sizes.minPixels,
    max_pixels: sizes.maxPixels,
  };
}
