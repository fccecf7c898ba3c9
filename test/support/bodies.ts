/** The smallest image of the cheapest model. */
export const SMALL = { model: "dall-e-2", size: "256x256" } as const;

/** The same, with the image in the response. */
export const SMALL_BASE64 = { ...SMALL, response_format: "b64_json" } as const;

const FLARE = "gpt-image-2.6-flare";

/** A small GIF. */
export const GIF = {
  model: FLARE,
  output_format: "gif",
  size: "320x320",
  frame_count: 4,
} as const;

/** An SVG. It requires the var SVG_MODELS. */
export const SVG = { model: FLARE, output_format: "svg", size: "1024x1024" } as const;

/** A stream with two partial images before the completed one. */
export const STREAM = { model: "gpt-image-1.5", quality: "low", stream: true, partial_images: 2 };

/** Every prompt of the running test file. None of them may appear in a log. */
export const prompts: string[] = [];

/** Returns a prompt that no other test has, with the simulator's directives in front. */
export function newPrompt(directives = "a man walks"): string {
  const prompt = `${directives} ${crypto.randomUUID()}`;
  prompts.push(prompt);
  return prompt;
}

/** Returns a request for a small image with a new prompt. */
export function newBody(directives?: string) {
  return { ...SMALL, prompt: newPrompt(directives) };
}
