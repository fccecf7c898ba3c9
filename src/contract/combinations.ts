import type { Failure } from "../errors/failure.ts";
import type { ImageSpec } from "./image-spec.ts";
import { ALPHA_FORMATS, FRAMES, LOSSY_FORMATS, type ModelRules } from "./models.ts";
import type { Fields } from "./request-body.ts";
import { frameGrid, sizeProblem } from "./sizes.ts";

/** Returns the first contradiction between two parameters; `undefined` if there is none. */
export function combinationFailure(spec: ImageSpec, fields: Fields): Failure | undefined {
  return formatFailure(spec, fields) ?? optionFailure(spec, fields);
}

/** Checks the parameters that only GIF or SVG has, and those that GIF and SVG exclude. */
function formatFailure({ n, options }: ImageSpec, fields: Fields): Failure | undefined {
  const format = options?.output_format;
  const unsupported = (param: string, problem: string): Failure => ({
    code: "unsupported_combination",
    param,
    problem,
  });
  if (format !== "gif") {
    const name = (["frame_count", "frame_duration_ms"] as const).find(
      (name) => fields[name] !== undefined,
    );
    if (name !== undefined) return unsupported(name, "requires 'output_format' gif");
  }
  if (format !== "svg" && fields.svg !== undefined) {
    return unsupported("svg", "requires 'output_format' svg");
  }
  if (format !== "gif" && format !== "svg") return undefined;
  if (fields.stream === true)
    return unsupported("stream", `is not supported with 'output_format' ${format}`);
  if (fields.partial_images !== 0) {
    return unsupported("partial_images", `must be 0 with 'output_format' ${format}`);
  }
  if (fields.output_compression !== 100) {
    return unsupported("output_compression", `must be 100 with 'output_format' ${format}`);
  }
  if (format === "svg" && n !== 1) return unsupported("n", "must be 1 with 'output_format' svg");
  return undefined;
}

function optionFailure({ n, options }: ImageSpec, { stream }: Fields): Failure | undefined {
  if (options === undefined) return undefined;
  const { background, output_format: format, output_compression } = options;
  if (stream === true && n > 1) return { code: "stream_with_many_images" };
  if (output_compression < 100 && !LOSSY_FORMATS.includes(format)) {
    return { code: "invalid_png_output_compression" };
  }
  if (background === "transparent" && !ALPHA_FORMATS.includes(format)) {
    return { code: "transparent_without_alpha", format };
  }
  return undefined;
}

/** Returns the failure of a size that the model does not accept; `undefined` if it does. */
export function sizeFailure(
  { size, model, options, further }: ImageSpec,
  { sizes }: ModelRules,
): Failure | undefined {
  const { columns, rows } =
    options?.output_format === "gif"
      ? frameGrid(further.frame_count ?? FRAMES.default)
      : { columns: 1, rows: 1 };
  const reason = sizeProblem(size, sizes, columns * rows);
  return reason === undefined ? undefined : { code: "size_not_allowed", model, reason };
}
