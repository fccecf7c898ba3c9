import { listedModels } from "../contract/model-list.ts";
import { parseImageRequest, type RequestRules } from "../contract/request.ts";

interface Example {
  summary: string;
  value: object;
}

/** Examples of image requests that a gateway accepts. */
export interface ImageExamples {
  /** The id of a served model; `undefined` if all have been shut down. */
  model: string | undefined;
  /** A body with only the required parameters. */
  least: object;
  /** Bodies by name. */
  all: Record<string, Example>;
}

/**
 * Returns the examples for a gateway: those that it accepts.
 *
 * @param nowMs milliseconds since the epoch: a model may be retired
 */
export function imageExamples(gateway: RequestRules, nowMs: number): ImageExamples {
  const { defaultModel, requireDocumentedFields } = gateway;
  const ids = listedModels(gateway, nowMs).map(({ id }) => id);
  const model = ids.includes(defaultModel) ? defaultModel : ids[0];
  const least = {
    prompt: "a man walks",
    ...(model === defaultModel ? {} : { model }),
    // Every family accepts this size.
    ...(requireDocumentedFields ? { n: 1, size: "1024x1024" } : {}),
  };
  const examples: Record<string, Example> = {
    least: { summary: "Only the required parameters", value: least },
    document: {
      summary: "The example of the reference document",
      value: { size: "1024x1536", prompt: "a man walks", model: "gpt-image-1.5", n: 1 },
    },
    url: { summary: "By URL", value: { ...least, response_format: "url", quality: "low" } },
    sticker: {
      summary: "With a transparent background",
      value: {
        ...least,
        prompt: "a walking man, as a sticker",
        background: "transparent",
        output_format: "webp",
        output_compression: 80,
      },
    },
    stream: {
      summary: "As a stream, with partial images",
      value: { ...least, stream: true, partial_images: 2 },
    },
    free: {
      summary: "In a custom size",
      value: { ...least, model: "gpt-image-2", size: "1280x720" },
    },
    dalle: {
      summary: "With a model of another family",
      value: { ...least, model: "dall-e-3", quality: "hd", style: "natural" },
    },
  };
  const accepted = Object.entries(examples).filter(([, { value }]) =>
    isAccepted(value, gateway, nowMs),
  );
  return { model, least, all: Object.fromEntries(accepted) };
}

function isAccepted(body: object, gateway: RequestRules, nowMs: number): boolean {
  try {
    parseImageRequest(body, gateway, nowMs);
    return true;
  } catch {
    return false;
  }
}
