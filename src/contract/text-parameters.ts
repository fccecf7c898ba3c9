import { valueOfJson } from "../lib/json.ts";

const NUMBERS: ReadonlySet<string> = new Set([
  "n",
  "output_compression",
  "frame_count",
  "frame_duration_ms",
  "variant",
  "partial_images",
]);
const BOOLEANS: ReadonlySet<string> = new Set(["stream"]);

/** The names of nested parameters in a form, as the SDKs write them, and their places in the JSON body. */
const SVG_MODEL = "svg[model]";
const SVG_EFFORT = "svg[reasoning][effort]";

/**
 * Returns parameters that were sent as text, in a query, as a JSON body. Numbers and booleans have one
 * spelling. Every other text stays text, and is rejected where it has the wrong type.
 *
 * @param extraParameters the names that `EXTRA_PARAMETERS` lists. Their values are numbers and booleans if
 *   they are spelled as JSON's
 */
export function bodyOfText(
  parameters: Readonly<Record<string, string>>,
  extraParameters: readonly string[],
): Record<string, unknown> {
  const { [SVG_MODEL]: model, [SVG_EFFORT]: effort, ...rest } = parameters;
  const values = Object.entries(rest).map(
    ([name, text]) => [name, valueOf(name, text, extraParameters.includes(name))] as const,
  );
  const isNested = model !== undefined || effort !== undefined;
  const svg = isNested ? { svg: { model, reasoning: { effort } } } : {};
  // A text as `svg` replaces the nested form, and is rejected.
  return { ...svg, ...Object.fromEntries(values) };
}

function valueOf(name: string, text: string, isExtra: boolean): unknown {
  if (NUMBERS.has(name) && /^(?:0|-?[1-9]\d*)$/.test(text)) return Number(text);
  if (BOOLEANS.has(name) && /^(?:true|false)$/.test(text)) return text === "true";
  if (!isExtra) return text;
  const value = valueOfJson(text);
  return typeof value === "number" || typeof value === "boolean" ? value : text;
}
