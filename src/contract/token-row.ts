import * as z from "zod";
import { valueOfJson } from "../lib/json.ts";
import type { ImageOptions, ImageSpec } from "./image-spec.ts";
import { OPTION_DEFAULTS } from "./models.ts";

/** The requested parameters that decide the number of output tokens of an image, in the API's names. */
export const tokenRow = z.object({
  model: z.string(),
  size: z.string(),
  quality: z.string(),
  complexity: z.string().nullable(),
  output_format: z.string(),
  frame_count: z.int().nullable(),
});

export type TokenRow = z.infer<typeof tokenRow>;

interface Requested extends Pick<ImageSpec, "upstreamModel" | "size" | "quality" | "further"> {
  options: Pick<ImageOptions, "output_format"> | undefined;
}

/** Returns the name under which the tokens of a request are remembered. */
export function tokenRowOf({ upstreamModel, size, quality, options, further }: Requested): string {
  // The name depends on the order of these fields.
  const row: TokenRow = {
    model: upstreamModel,
    size,
    quality,
    complexity: further.complexity ?? null,
    output_format: options?.output_format ?? OPTION_DEFAULTS.output_format,
    frame_count: further.frame_count ?? null,
  };
  return JSON.stringify(row);
}

/** Returns the requested parameters in such a name. */
export function parseTokenRow(name: string): TokenRow {
  return tokenRow.parse(valueOfJson(name));
}
