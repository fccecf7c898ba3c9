import { baseModelId, FRAMES } from "./models.ts";
import { edgesOf, frameGrid, type Edges } from "./sizes.ts";

/** The parameters that decide the number of output tokens of an image. */
export interface TokenParameters {
  upstreamModel: string;
  size: string;
  quality: string;
  /** True if the image is a GIF, whose frames are drawn as one image. */
  isAnimated: boolean;
  /** The frames of a GIF; the default if absent. */
  frameCount: number | undefined;
}

/** OpenAI's image generation guide, "Image tokens", of the gpt-image-1 series; `high` is the last. */
const FIXED_TOKENS = table({
  "1024x1024": table({ low: 272, medium: 1056, high: 4160 }),
  "1024x1536": table({ low: 408, medium: 1584, high: 6240 }),
  "1536x1024": table({ low: 400, medium: 1568, high: 6208 }),
});
/** The most expensive size that `auto` may become. */
const MOST_EXPENSIVE_FIXED_SIZE = "1024x1536";

/** The number of patches along the longer edge, by quality, and the factor by which real counts exceed it. */
interface PatchTable {
  patches: ReadonlyMap<string, number>;
  factors: ReadonlyMap<string, number>;
}

/** The same guide's formula for gpt-image-2 and later. */
const GPT_IMAGE_2: PatchTable = {
  patches: table({ low: 16, medium: 48, high: 96 }),
  factors: table({}),
};
const GPT_IMAGE_2_5: PatchTable = {
  patches: table({ low: 16, medium: 24, high: 48, xhigh: 64, max: 96 }),
  factors: table({}),
};
/**
 * The guide has no figures for gpt-image-2.6. Third parties measured 664 tokens for `low` at 1536x1024; the
 * formula says 158.
 */
const GPT_IMAGE_2_6: PatchTable = {
  ...GPT_IMAGE_2_5,
  factors: table({ low: 4.5, medium: 4.5 }),
};
const MOST_PATCHES = 96;

/** Returns a table that has no other names, unlike an object: a client or an upstream may send `constructor`. */
function table<Value>(values: Record<string, Value>): ReadonlyMap<string, Value> {
  return new Map(Object.entries(values));
}

/** Returns the table of a model; all tables for a model that none of them names. */
function patchTables(model: string): readonly PatchTable[] {
  if (model === "gpt-image-2") return [GPT_IMAGE_2];
  if (model.startsWith("gpt-image-2.5")) return [GPT_IMAGE_2_5];
  if (model.startsWith("gpt-image-2.6")) return [GPT_IMAGE_2_6];
  return [GPT_IMAGE_2, GPT_IMAGE_2_5, GPT_IMAGE_2_6];
}

/**
 * The edge that stands for `auto`: a square, the shape that costs the most, with as many pixels as
 * 1536x1024, the largest size of the gpt-image-1 series. An image that is larger is charged in full.
 */
const AUTO_EDGE = Math.sqrt(1536 * 1024);

/** The edge of the largest image: the square of 8,294,400 pixels that a GIF of size `auto` may be cut from. */
const LARGEST_EDGE = 2880;

/** The output tokens of one image by OpenAI's tables. Both are equal for a model that a table names. */
export interface TokenRange {
  least: number;
  most: number;
}

/**
 * Returns the output tokens of one image. A quality that the tables do not have counts as the most expensive
 * one, and so does `auto`.
 */
export function outputTokens(parameters: TokenParameters): TokenRange {
  const { size, quality } = parameters;
  const model = baseModelId(parameters.upstreamModel);
  if (/^(?:gpt-image-1|chatgpt-image)/.test(model)) {
    const row = FIXED_TOKENS.get(size) ?? FIXED_TOKENS.get(MOST_EXPENSIVE_FIXED_SIZE);
    const tokens = row?.get(quality) ?? row?.get("high") ?? 0;
    return { least: tokens, most: tokens };
  }
  const tokens = patchTables(model).map(({ patches, factors }) => {
    const long = patches.get(quality) ?? MOST_PATCHES;
    const formula = parameters.isAnimated
      ? sheetTokens(parameters, long)
      : patchTokens(edgesOf(size) ?? [AUTO_EDGE, AUTO_EDGE], long);
    return Math.ceil(formula * (factors.get(quality) ?? 1));
  });
  return { least: Math.min(...tokens), most: Math.max(...tokens) };
}

/** Returns the tokens of all frames of a GIF together, in the more expensive direction of their grid. */
function sheetTokens({ size, frameCount }: TokenParameters, patches: number): number {
  const frame = edgesOf(size);
  if (frame === undefined) return patchTokens([LARGEST_EDGE, LARGEST_EDGE], patches);
  const { columns, rows } = frameGrid(frameCount ?? FRAMES.default);
  const [width, height] = frame;
  return Math.max(
    patchTokens([width * columns, height * rows], patches),
    patchTokens([width * rows, height * columns], patches),
  );
}

function patchTokens([width, height]: Edges, long: number): number {
  const short = Math.max(1, Math.round((long * Math.min(width, height)) / Math.max(width, height)));
  return Math.ceil((long * short * (2_000_000 + width * height)) / 4_000_000);
}
