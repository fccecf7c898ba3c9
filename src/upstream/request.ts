import type { ImageRequest } from "../contract/request.ts";

/**
 * Returns the JSON body for the upstream: known fields only, with the model alias resolved.
 *
 * A field at its default value is left out. The meaning is the same, and a compatible server may
 * reject fields that it does not know. `model`, `prompt`, `n` and `size` are always sent, because
 * servers built from the reference document require them.
 */
export function upstreamBody(request: ImageRequest): Record<string, string | number | boolean> {
  const { upstreamModel: model, prompt, n, size, options, rules } = request;
  const body: Record<string, string | number | boolean> = { model, prompt, n, size };
  if (request.quality !== rules.qualities[0]) body["quality"] = request.quality;
  if (request.style !== undefined && request.style !== rules.styles?.[0]) {
    body["style"] = request.style;
  }
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
    if (options.stream) {
      body["stream"] = true;
      body["partial_images"] = options.partial_images;
    }
  }
  if (request.user !== undefined) body["user"] = request.user;
  if (request.safety_identifier !== undefined) {
    body["safety_identifier"] = request.safety_identifier;
  }
  return body;
}
