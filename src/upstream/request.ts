import type { UpstreamConfig } from "../config/environment.ts";
import { asRequested } from "../contract/image-spec.ts";
import { baseModelId, OPTION_DEFAULTS, rulesOf } from "../contract/models.ts";
import type { ImageRequest } from "../contract/request.ts";

/**
 * Returns the JSON body for the upstream: known fields only, with the model alias resolved.
 *
 * A value that equals the default is left out, even if the client sent it. The meaning is the same, and a
 * compatible server may reject fields that it does not know. `UPSTREAM_REQUIRES` names the defaults that a
 * server requires nevertheless. `n` is always sent, and the `size` of a dall-e model.
 */
export function upstreamBody(
  { spec, upstream }: Pick<ImageRequest, "spec" | "upstream">,
  { requires, sendResponseFormat }: Pick<UpstreamConfig, "requires" | "sendResponseFormat">,
): Record<string, unknown> {
  const { upstreamModel, size, quality, style, options, further } = spec;
  const rules = rulesOf(asRequested(spec));
  const body: Record<string, unknown> = { model: upstreamModel, prompt: spec.prompt, n: spec.n };
  const addUnless = (preset: unknown, name: string, value: unknown) => {
    if (value !== undefined && (value !== preset || requires.has(name))) body[name] = value;
  };
  addUnless(rules.imageOptions ? rules.defaultSize : undefined, "size", size);
  addUnless(rules.qualities[0], "quality", quality);
  addUnless(rules.styles?.[0], "style", style);
  const presets = OPTION_DEFAULTS;
  addUnless(presets.background, "background", options?.background);
  addUnless(presets.output_format, "output_format", options?.output_format);
  addUnless(presets.output_compression, "output_compression", options?.output_compression);
  addUnless(presets.moderation, "moderation", options?.moderation);
  // `variant` only distinguishes requests here.
  const { variant: _, ...sent } = further;
  for (const [name, value] of Object.entries(sent)) addUnless(undefined, name, value);
  // Base64 in the response saves a download. GPT image models always return it and have no such field.
  const ids = [upstreamModel, baseModelId(upstreamModel)];
  if (!rules.imageOptions || ids.some((id) => sendResponseFormat.has(id))) {
    body["response_format"] = "b64_json";
  }
  if (upstream.stream) {
    body["stream"] = true;
    addUnless(0, "partial_images", upstream.partialImages);
  }
  addUnless(undefined, "user", upstream.user);
  addUnless(undefined, "safety_identifier", upstream.safetyIdentifier);
  return body;
}
