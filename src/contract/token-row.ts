import * as z from "zod";
import { valueOfJson } from "../lib/json.ts";
import type { ImageOptions, ImageSpec } from "./image-spec.ts";

/** The requested parameters that decide the number of output tokens of an image. */
const tokenRow = z.tuple([
  z.string(),
  z.string(),
  z.string(),
  z.string().nullable(),
  z.string(),
  z.number().nullable(),
]);

/** The parameters that the name contains. */
interface TokenRowParameters extends Pick<
  ImageSpec,
  "upstreamModel" | "size" | "quality" | "further"
> {
  options: Pick<ImageOptions, "output_format"> | undefined;
}

/** Returns the name under which the tokens of a request are remembered. */
export function tokenRowOf(parameters: TokenRowParameters): string {
  const { upstreamModel, size, quality, options, further } = parameters;
  const { complexity = null, frame_count = null } = further;
  const format = options?.output_format ?? "png";
  const row: z.infer<typeof tokenRow> = [
    upstreamModel,
    size,
    quality,
    complexity,
    format,
    frame_count,
  ];
  return JSON.stringify(row);
}

/** Returns the requested parameters in such a name. */
export function parseTokenRow(name: string) {
  const [model, size, quality, complexity, output_format, frame_count] = tokenRow.parse(
    valueOfJson(name),
  );
  return { model, size, quality, complexity, output_format, frame_count };
}
