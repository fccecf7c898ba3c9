/**
 * Output tokens of one image of the gpt-image-1 series: the table in OpenAI's image generation
 * guide, "Cost and latency".
 */
const TABLE: Record<string, Record<string, number>> = {
  "1024x1024": { low: 272, medium: 1056, high: 4160 },
  "1024x1536": { low: 408, medium: 1584, high: 6240 },
  "1536x1024": { low: 400, medium: 1568, high: 6208 },
};

/** For gpt-image-2 and later: the guide's formula, from the quality's base and the edges. */
const BASE: Record<string, number> = { low: 16, medium: 48, high: 96, xhigh: 96, max: 96 };

/** Returns the output tokens of one image. */
export function outputTokens(width: number, height: number, quality: string): number {
  const listed = TABLE[`${width}x${height}`]?.[quality];
  if (listed !== undefined) return listed;
  const base = BASE[quality] ?? 96;
  const scaled = Math.round((base * Math.min(width, height)) / Math.max(width, height));
  return Math.ceil((base * scaled * (2_000_000 + width * height)) / 4_000_000);
}

/** Returns an estimate of a prompt's input tokens: one per four characters, and seven for the request. */
export function inputTokens(prompt: string): number {
  return Math.ceil(prompt.length / 4) + 7;
}
