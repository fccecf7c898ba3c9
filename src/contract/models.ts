import type { ImageType } from "../lib/image-type.ts";
import type { FreeSizes, ListedSizes } from "./sizes.ts";

/** The parameters that a family of models accepts, for validation, the OpenAPI document and the model list. */
export interface ModelRules {
  promptMaxChars: number;
  maxImages: number;
  sizes: ListedSizes | FreeSizes;
  defaultSize: string;
  /** The default first. */
  qualities: readonly [string, ...string[]];
  /** True if no table knows the model. It accepts every word as `quality`, and its server has its own defaults. */
  isOpen: boolean;
  defaultResponseFormat: ResponseFormat;
  /** dall-e-3 only; the default first. */
  styles?: readonly [string, ...string[]];
  /**
   * True if it accepts the GPT image options: `background`, `output_format`, `output_compression`,
   * `moderation`, `stream`, `partial_images`.
   */
  imageOptions: boolean;
  /** The values of `output_format`, the default first; empty if it does not accept the parameter. */
  outputFormats: readonly ImageType[];
  /** The values of `complexity`; empty if it does not accept the parameter. */
  complexities: readonly (typeof COMPLEXITIES)[number][];
}

/** A model that the table knows by name. */
export interface KnownModel {
  id: string;
  /** The day of its release, YYYY-MM-DD. */
  released: string;
  /** The day on which OpenAI shuts it down, at 00:00 UTC, YYYY-MM-DD; `null` if none is announced. */
  shutdown: string | null;
  /** The id of the model that OpenAI recommends in its place; `null` if `shutdown` is. */
  successor: string | null;
  rules: ModelRules;
}

export const BACKGROUNDS = ["auto", "transparent", "opaque"] as const;
/** The formats of images that are not animated. */
export const STILL_FORMATS: readonly ImageType[] = ["png", "jpeg", "webp"];
/** The formats whose compression can be chosen. */
export const LOSSY_FORMATS: readonly ImageType[] = ["jpeg", "webp"];
/** The formats that have an alpha channel. */
export const ALPHA_FORMATS: readonly ImageType[] = ["png", "webp"];
export const MODERATIONS = ["auto", "low"] as const;
export const RESPONSE_FORMATS = ["b64_json", "url"] as const;

/** How images are delivered. */
export type ResponseFormat = (typeof RESPONSE_FORMATS)[number];

export const MAX_PARTIAL_IMAGES = 3;

/** The defaults of the options of GPT image models that change the image. */
export const OPTION_DEFAULTS = {
  background: "auto",
  output_format: "png",
  output_compression: 100,
  moderation: "auto",
} as const;

export const COMPLEXITIES = ["low", "medium", "high"] as const;

/** The number of frames of a GIF, and the time for which each is shown. */
export const FRAMES = { min: 2, max: 16, default: 9, minMs: 10, defaultMs: 200 } as const;

/** The efforts of the model that writes an SVG. */
export const SVG_EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"] as const;

/** The largest `variant`: another image for the same parameters. */
export const MAX_VARIANT = 9999;

const GPT_IMAGE_1: ModelRules = {
  promptMaxChars: 32_000,
  maxImages: 10,
  sizes: { kind: "listed", sizes: ["auto", "1024x1024", "1536x1024", "1024x1536"] },
  defaultSize: "auto",
  qualities: ["auto", "low", "medium", "high"],
  isOpen: false,
  defaultResponseFormat: "b64_json",
  imageOptions: true,
  outputFormats: STILL_FORMATS,
  complexities: [],
};

const GPT_IMAGE_2: ModelRules = {
  ...GPT_IMAGE_1,
  sizes: {
    kind: "free",
    multipleOf: 16,
    minEdge: 16,
    maxEdge: 3840,
    maxAspectRatio: 3,
    minPixels: 655_360,
    maxPixels: 8_294_400,
  },
};

const GPT_IMAGE_2_5: ModelRules = {
  ...GPT_IMAGE_2,
  qualities: ["auto", "low", "medium", "high", "xhigh", "max"],
};

const GPT_IMAGE_2_6: ModelRules = {
  ...GPT_IMAGE_2_5,
  outputFormats: [...STILL_FORMATS, "gif", "svg"],
  complexities: COMPLEXITIES,
};

/** The rules of a model that no table knows: another server's. What the client omits is not sent. */
const OPEN: ModelRules = {
  ...GPT_IMAGE_2_6,
  qualities: ["auto"],
  isOpen: true,
  sizes: {
    kind: "free",
    multipleOf: 1,
    minEdge: 64,
    maxEdge: 8192,
    maxAspectRatio: 8192 / 64,
    minPixels: 64 * 64,
    maxPixels: 8192 * 8192,
  },
};

const DALL_E_2: ModelRules = {
  promptMaxChars: 1000,
  maxImages: 10,
  sizes: { kind: "listed", sizes: ["256x256", "512x512", "1024x1024"] },
  defaultSize: "1024x1024",
  qualities: ["standard"],
  isOpen: false,
  defaultResponseFormat: "url",
  imageOptions: false,
  outputFormats: [],
  complexities: [],
};

const DALL_E_3: ModelRules = {
  ...DALL_E_2,
  promptMaxChars: 4000,
  maxImages: 1,
  sizes: { kind: "listed", sizes: ["1024x1024", "1792x1024", "1024x1792"] },
  qualities: ["standard", "hd"],
  styles: ["vivid", "natural"],
};

/** Models that accept the same parameters, by their name in the OpenAPI document. */
export const FAMILIES: readonly { name: string; rules: ModelRules }[] = [
  { name: "GptImage26Body", rules: GPT_IMAGE_2_6 },
  { name: "GptImage25Body", rules: GPT_IMAGE_2_5 },
  { name: "GptImage2Body", rules: GPT_IMAGE_2 },
  { name: "GptImage1Body", rules: GPT_IMAGE_1 },
  { name: "DallE3Body", rules: DALL_E_3 },
  { name: "DallE2Body", rules: DALL_E_2 },
  { name: "OpenBody", rules: OPEN },
];

/** The rules of a GPT image model that the table does not have: a new one needs no code. */
const NEWEST_RULES = GPT_IMAGE_2_6;

const SUNBURST_2_6 = "gpt-image-2.6-sunburst";
const FLARE_2_6 = "gpt-image-2.6-flare";

/**
 * Every model known by name. Rules: the Images API reference, "Create image", November 2026.
 *
 * Shutdown days and successors: OpenAI's page "Deprecations", November 2026. For each model that it
 * retires, it recommends both models of the 2.6 family. Darkroom sends flare for the small and the cheap
 * models, sunburst for the others.
 */
export const KNOWN_MODELS: readonly KnownModel[] = [
  retired("gpt-image-1", "2025-04-23", "2026-10-23", SUNBURST_2_6, GPT_IMAGE_1),
  retired("gpt-image-1-mini", "2025-10-06", "2026-12-01", FLARE_2_6, GPT_IMAGE_1),
  retired("gpt-image-1.5", "2025-12-16", "2026-12-01", SUNBURST_2_6, GPT_IMAGE_1),
  retired("chatgpt-image-latest", "2025-12-16", "2026-12-01", SUNBURST_2_6, GPT_IMAGE_1),
  active("gpt-image-2", "2026-04-21", GPT_IMAGE_2),
  active("gpt-image-2.5-sunburst", "2026-09-08", GPT_IMAGE_2_5),
  active("gpt-image-2.5-flare", "2026-09-08", GPT_IMAGE_2_5),
  active(SUNBURST_2_6, "2026-11-04", GPT_IMAGE_2_6),
  active(FLARE_2_6, "2026-11-04", GPT_IMAGE_2_6),
  retired("dall-e-2", "2022-11-03", "2026-05-12", FLARE_2_6, DALL_E_2),
  retired("dall-e-3", "2023-11-06", "2026-05-12", SUNBURST_2_6, DALL_E_3),
];

function active(id: string, released: string, rules: ModelRules): KnownModel {
  return { id, released, shutdown: null, successor: null, rules };
}

function retired(
  id: string,
  released: string,
  shutdown: string,
  successor: string,
  rules: ModelRules,
): KnownModel {
  return { id, released, shutdown, successor, rules };
}

/** The pattern of the date at the end of a snapshot's id. */
export const SNAPSHOT_DATE = String.raw`-\d{4}-\d{2}-\d{2}`;
const SNAPSHOT_SUFFIX = new RegExp(`${SNAPSHOT_DATE}$`);

/** Returns an id without the date of a snapshot (`gpt-image-2-2026-04-21` → `gpt-image-2`). */
export function baseModelId(id: string): string {
  return id.replace(SNAPSHOT_SUFFIX, "");
}

/** Returns the table's row for an id or a dated snapshot of it. */
export function knownModel(id: string): KnownModel | undefined {
  const base = baseModelId(id);
  return KNOWN_MODELS.find((model) => model.id === id || model.id === base);
}

/** A model as the client requests it, and as the upstream is sent it. */
interface ModelNames {
  model: string;
  upstreamModel: string;
}

/**
 * Returns the rules of a model. The model that the upstream is sent decides, then the requested one. A GPT
 * image model that the table does not have gets the newest rules, any other model the open ones.
 */
export function rulesOf({ model, upstreamModel }: ModelNames): ModelRules {
  const known = knownModel(upstreamModel) ?? knownModel(model);
  if (known !== undefined) return known.rules;
  return [model, upstreamModel].some((id) => id.startsWith("gpt-image-")) ? NEWEST_RULES : OPEN;
}

/** Returns true for OpenAI's GPT image models, also under an alias. */
export function isGptImage(names: ModelNames): boolean {
  const { imageOptions, isOpen } = rulesOf(names);
  return imageOptions && !isOpen;
}

/** Returns how the images of a model are delivered by default. */
export function defaultResponseFormat(model: string): ResponseFormat {
  return rulesOf({ model, upstreamModel: model }).defaultResponseFormat;
}
