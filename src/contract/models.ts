import { IMAGE_TYPES, type ImageType } from "../lib/image-type.ts";

/** A fixed list of sizes. */
export interface ListedSizes {
  kind: "listed";
  sizes: readonly string[];
}

/** Any `WIDTHxHEIGHT` inside these bounds, or `auto`. */
export interface FreeSizes {
  kind: "free";
  /** The number of which both edges are multiples. */
  multipleOf: number;
  /** Pixels. */
  maxEdge: number;
  /** Longest edge / shortest edge. */
  maxAspectRatio: number;
  /** Width × height. */
  minPixels: number;
  maxPixels: number;
}

/** The parameters that a family of models accepts, for validation, the OpenAPI document and the model list. */
export interface ModelRules {
  promptMaxChars: number;
  maxImages: number;
  sizes: ListedSizes | FreeSizes;
  defaultSize: string;
  /** The default first. */
  qualities: readonly [string, ...string[]];
  defaultResponseFormat: ResponseFormat;
  /** dall-e-3 only; the default first. */
  styles?: readonly [string, ...string[]];
  /**
   * True if it accepts the GPT image options: `background`, `output_format`, `output_compression`,
   * `moderation`, `stream`, `partial_images`.
   */
  imageOptions: boolean;
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
export const OUTPUT_FORMATS: readonly ImageType[] = IMAGE_TYPES;
/** The formats whose compression can be chosen. */
export const LOSSY_FORMATS: readonly ImageType[] = ["jpeg", "webp"];
/** The formats that have an alpha channel. */
export const ALPHA_FORMATS: readonly ImageType[] = ["png", "webp"];
export const MODERATIONS = ["auto", "low"] as const;
export const RESPONSE_FORMATS = ["b64_json", "url"] as const;

/** How images are delivered. */
export type ResponseFormat = (typeof RESPONSE_FORMATS)[number];

export const MAX_PARTIAL_IMAGES = 3;

const GPT_IMAGE_1: ModelRules = {
  promptMaxChars: 32_000,
  maxImages: 10,
  sizes: { kind: "listed", sizes: ["auto", "1024x1024", "1536x1024", "1024x1536"] },
  defaultSize: "auto",
  qualities: ["auto", "low", "medium", "high"],
  defaultResponseFormat: "b64_json",
  imageOptions: true,
};

const GPT_IMAGE_2: ModelRules = {
  ...GPT_IMAGE_1,
  sizes: {
    kind: "free",
    multipleOf: 16,
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

const DALL_E_2: ModelRules = {
  promptMaxChars: 1000,
  maxImages: 10,
  sizes: { kind: "listed", sizes: ["256x256", "512x512", "1024x1024"] },
  defaultSize: "1024x1024",
  qualities: ["standard"],
  defaultResponseFormat: "url",
  imageOptions: false,
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
  { name: "GptImage25Body", rules: GPT_IMAGE_2_5 },
  { name: "GptImage2Body", rules: GPT_IMAGE_2 },
  { name: "GptImage1Body", rules: GPT_IMAGE_1 },
  { name: "DallE3Body", rules: DALL_E_3 },
  { name: "DallE2Body", rules: DALL_E_2 },
];

/** The rules of an id in `MODELS` that the table does not have: a new model needs no code. */
const NEWEST_RULES = GPT_IMAGE_2_5;

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
  active(SUNBURST_2_6, "2026-11-04", GPT_IMAGE_2_5),
  active(FLARE_2_6, "2026-11-04", GPT_IMAGE_2_5),
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

const SNAPSHOT_SUFFIX = /-\d{4}-\d{2}-\d{2}$/;

/** Returns an id without the date of a snapshot (`gpt-image-2-2026-04-21` → `gpt-image-2`). */
export function baseModelId(id: string): string {
  return id.replace(SNAPSHOT_SUFFIX, "");
}

/** Returns the table's row for an id or a dated snapshot of it. */
export function knownModel(id: string): KnownModel | undefined {
  const base = baseModelId(id);
  return KNOWN_MODELS.find((model) => model.id === id || model.id === base);
}

/**
 * Returns the rules of a model. The model that the upstream is sent decides, then the requested one, then
 * the newest rules.
 */
export function rulesOf({
  model,
  upstreamModel,
}: {
  model: string;
  upstreamModel: string;
}): ModelRules {
  return (knownModel(upstreamModel) ?? knownModel(model))?.rules ?? NEWEST_RULES;
}

/** Returns how the images of a model are delivered by default. */
export function defaultResponseFormat(model: string): ResponseFormat {
  return (knownModel(model)?.rules ?? NEWEST_RULES).defaultResponseFormat;
}

const SIZE = /^([1-9]\d{0,4})x([1-9]\d{0,4})$/;

/** Returns why a model does not accept a size, as a clause; `undefined` if it does. */
export function sizeProblem(size: string, sizes: ListedSizes | FreeSizes): string | undefined {
  if (sizes.kind === "listed") {
    return sizes.sizes.includes(size) ? undefined : `it must be one of ${sizes.sizes.join(", ")}`;
  }
  if (size === "auto") return undefined;
  const match = SIZE.exec(size);
  if (match === null) return "it must be auto or WIDTHxHEIGHT in pixels, such as 1536x1024";
  const [width, height] = [Number(match[1]), Number(match[2])];
  const { multipleOf, maxEdge, maxAspectRatio, minPixels, maxPixels } = sizes;
  if (width % multipleOf !== 0 || height % multipleOf !== 0) {
    return `width and height must be multiples of ${multipleOf}`;
  }
  if (Math.max(width, height) > maxEdge) return `no edge may be longer than ${maxEdge} pixels`;
  if (Math.max(width, height) > maxAspectRatio * Math.min(width, height)) {
    return `the longer edge may be at most ${maxAspectRatio} times the shorter one`;
  }
  const pixels = width * height;
  if (pixels < minPixels) return `it has ${pixels} pixels, and at least ${minPixels} are required`;
  if (pixels > maxPixels) return `it has ${pixels} pixels, and at most ${maxPixels} are allowed`;
  return undefined;
}
