import { RECORD_VERSION, type GenerationRecord, type Resolved } from "../contract/record.ts";
import type { ImageRequest } from "../contract/request.ts";
import type { UpstreamGeneration } from "../upstream/client.ts";

/**
 * The record of what was just made.
 *
 * @param nowSeconds Unix seconds; the gateway's own clock, so that ages are right
 */
export function newRecord(
  id: string,
  request: ImageRequest,
  made: UpstreamGeneration,
  nowSeconds: number,
): GenerationRecord {
  return {
    version: RECORD_VERSION,
    id,
    created: nowSeconds,
    model: request.upstreamModel,
    resolved: resolvedParameters(request, made),
    usage: made.usage,
    images: made.images.map(({ type, sizeBytes, revisedPrompt }) => ({
      type,
      bytes: sizeBytes,
      revised_prompt: revisedPrompt,
    })),
  };
}

/**
 * What became of the parameters: as the upstream says; where it says nothing, as asked, unless that
 * was `auto`. The format is what the bytes are, whatever anybody says.
 */
function resolvedParameters(
  request: ImageRequest,
  { resolved, images }: UpstreamGeneration,
): Resolved {
  return {
    background: resolved.background ?? definite(request.options?.background),
    output_format: images[0]?.type,
    quality: resolved.quality ?? definite(request.quality),
    size: resolved.size ?? definite(request.size),
  };
}

function definite(value: string | undefined): string | undefined {
  return value === "auto" ? undefined : value;
}
