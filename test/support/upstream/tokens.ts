/**
 * Output tokens of one image of the gpt-image-1 series: the table in OpenAI's image generation
 * guide, "Cost and latency".
 */
const TABLE: Record<string, Record<string, number>> = {
  "1024x1024": { low: 272, medium: 1056, high: 4160 },
  "1024x1536": { low: 408, medium: 1584, high: 6240 },
  "1536x1024": { low: 400, medium: 1568, high: 6208 },
};

/** For gpt-image-2 and later: the guide's formula, from the patches along the longer edge, by quality. */
const GPT_IMAGE_2_PATCHES: Record<string, number> = { low: 16, medium: 48, high: 96 };
const GPT_IMAGE_2_5_PATCHES: Record<string, number> = {
  low: 16,
  medium: 24,
  high: 48,
  xhigh: 64,
  max: 96,
};
const MOST_PATCHES = 96;

/** The factor by which gpt-image-2.6 and later exceed the formula. */
const GPT_IMAGE_2_6_FACTORS: Record<string, number> = { low: 4.5, medium: 4.5 };

/** The grids in which the frames of a GIF lie on its sheet: most frames, columns, rows. */
const GRIDS: readonly (readonly [number, number, number])[] = [
  [8, 4, 2],
  [9, 3, 3],
  [12, 4, 3],
];
const LARGEST_GRID = [16, 4, 4] as const;

/** The size of an image, in pixels. */
export interface Size {
  width: number;
  height: number;
}

/** Returns the output tokens of one image. */
export function outputTokens({
  model,
  quality,
  width,
  height,
}: Size & { model: string; quality: string }): number {
  const version = Number(/^gpt-image-(\d+(?:\.\d+)?)/.exec(model)?.[1] ?? 1);
  const listed = version < 2 ? TABLE[`${width}x${height}`]?.[quality] : undefined;
  if (listed !== undefined) return listed;
  const patches = version < 2.5 ? GPT_IMAGE_2_PATCHES : GPT_IMAGE_2_5_PATCHES;
  const long = patches[quality] ?? MOST_PATCHES;
  const short = Math.round((long * Math.min(width, height)) / Math.max(width, height));
  const tokens = Math.ceil((long * short * (2_000_000 + width * height)) / 4_000_000);
  return Math.ceil(tokens * (version < 2.6 ? 1 : (GPT_IMAGE_2_6_FACTORS[quality] ?? 1)));
}

/** Returns the size of the sheet on which the frames of a GIF lie. A GIF costs as much as one such image. */
export function sheetSize(frames: number, { width, height }: Size): Size {
  const [, columns, rows] = GRIDS.find(([most]) => frames <= most) ?? LARGEST_GRID;
  return { width: columns * width, height: rows * height };
}

/** Returns an estimate of a prompt's input tokens: one per four characters, and seven for the request. */
export function inputTokens(prompt: string): number {
  return Math.ceil(prompt.length / 4) + 7;
}
