import * as z from "zod";

/** The largest number of tokens that an upstream's report may contain. Larger ones are ignored. */
export const MAX_TOKENS = 10_000_000;

/** Token counts in the API's own names; all 0 if the upstream reports none. */
export const usageSchema = z.object({
  input_tokens: z.int().min(0),
  output_tokens: z.int().min(0),
  total_tokens: z.int().min(0),
  input_tokens_details: z.record(z.string(), z.int().min(0)).optional(),
  output_tokens_details: z.record(z.string(), z.int().min(0)).optional(),
});

export type Usage = z.infer<typeof usageSchema>;

export const NO_USAGE: Usage = { input_tokens: 0, output_tokens: 0, total_tokens: 0 };

/** The tokens of the model that wrote an SVG. The image's own are not among them. */
export const svgUsageSchema = z.object({
  model: z.string(),
  input_tokens: z.int().min(0),
  output_tokens: z.int().min(0),
  reasoning_tokens: z.int().min(0),
  total_tokens: z.int().min(0),
});

export type SvgUsage = z.infer<typeof svgUsageSchema>;
