import { rulesOf } from "../contract/models.ts";
import { asRequested, type ImageRequest } from "../contract/request.ts";

/**
 * Returns the JSON body for the upstream: known fields only, with the model alias resolved.
 *
 * A field at its default value is left out. The meaning is the same, and a compatible server may
 * reject fields that it does not know. `model`, `prompt`, `n` and `size` are always sent, because
 * servers built from the reference document require them.
 */
export function upstreamBody({
  spec,
  upstream,
}: Pick<ImageRequest, "spec" | "upstream">): Record<string, string | number | boolean> {
  const { upstreamModel: model, prompt, n, size, quality, style, options } = spec;
  const defaults = rulesOf(asRequested(spec));
  const body: Record<string, string | number | boolean> = { model, prompt, n, size };
  if (quality !== defaults.qualities[0]) body["quality"] = quality;
  if (style !== undefined && style !== defaults.styles?.[0]) body["style"] = style;
  if (options === undefined) {
    // Base64 in the response saves a download. GPT image models always return it and have no such field.
    body["response_format"] = "b64_json";
  } else {
    if (options.background !== "auto") body["background"] = options.background;
    if (options.output_format !== "png") body["output_format"] = options.output_format;
    if (options.output_compression !== 100) {
      body["output_compression"] = options.output_compression;
    }
    if (options.moderation !== "auto") body["moderation"] = options.moderation;
  }
  if (upstream.stream) {
    body["stream"] = true;
    body["partial_images"] = upstream.partialImages;
  }
  if (upstream.user !== undefined) body["user"] = upstream.user;
  if (upstream.safetyIdentifier !== undefined) {
    body["safety_identifier"] = upstream.safetyIdentifier;
  }
  return body;
}
