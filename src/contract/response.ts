import type { GenerationRecord } from "./record.ts";
import type { SvgUsage, Usage } from "./usage.ts";

/** The JSON response: the Images API's fields and the reference document's fields in one object. */
export interface ImagesResponse {
  id: string;
  object: "chat.completion";
  /** Unix seconds. */
  created: number;
  model: string;
  background?: string | undefined;
  output_format?: string | undefined;
  quality?: string | undefined;
  size?: string | undefined;
  data: ImageData[];
  choices: Choice[];
  usage: WireUsage;
  /** The tokens of the model that wrote an SVG. */
  svg_usage?: SvgUsage | undefined;
  /** The identifier that the client sent; absent in every other response. */
  safety_identifier?: string | undefined;
}

/** One image, as Base64 or by URL. */
interface ImageData {
  b64_json?: string | undefined;
  url?: string | undefined;
  revised_prompt?: string | undefined;
}

/** The reference document's form of an image: a message with a Markdown link. */
interface Choice {
  index: number;
  message: { role: "assistant"; content: string };
  finish_reason: "stop";
}

/** Token counts under the names of both references. */
export interface WireUsage extends Usage {
  /** Always present, because the SDKs declare it so: zeros if the upstream reports none. */
  input_tokens_details: Record<string, number>;
  /** The reference document's `input_tokens`. */
  prompt_tokens: number;
  /** The reference document's `output_tokens`. */
  completion_tokens: number;
}

/** The response while a generation is queued or in progress. */
export interface PendingResponse {
  id: string;
  status: "queued" | "in_progress";
  /** Unix seconds. */
  created: number;
}

/**
 * Returns the URL of an image. Its content never changes, because no id is used twice.
 *
 * @param origin of the gateway
 */
export function imageUrl(record: GenerationRecord, index: number, origin: string): string {
  return `${origin}/v1/images/${record.id}/${index}.${record.images[index]?.type ?? "png"}`;
}

/** Returns token counts under the names of both references. */
export function wireUsage(counted: Usage): WireUsage {
  return {
    ...counted,
    input_tokens_details: { text_tokens: 0, image_tokens: 0, ...counted.input_tokens_details },
    prompt_tokens: counted.input_tokens,
    completion_tokens: counted.output_tokens,
  };
}

/**
 * Returns the JSON response without `data`, which is large and written separately.
 *
 * @param origin of the gateway, for the links in `choices`
 */
export function responseWithoutData(
  record: GenerationRecord,
  origin: string,
): Omit<ImagesResponse, "data"> {
  const { id, created, model, resolved, usage: counted, svg_usage } = record;
  return {
    id,
    object: "chat.completion",
    created,
    model,
    ...resolved,
    choices: record.images.map((_, index) => ({
      index,
      message: {
        role: "assistant",
        content: `![Image ${index + 1}](${imageUrl(record, index, origin)})`,
      },
      finish_reason: "stop",
    })),
    usage: wireUsage(counted),
    svg_usage,
  };
}

/**
 * Returns the JSON response with its images by URL.
 *
 * @param origin of the gateway
 */
export function responseWithUrls(record: GenerationRecord, origin: string): ImagesResponse {
  const { choices, usage: counted, svg_usage, ...head } = responseWithoutData(record, origin);
  const data = record.images.map(({ revised_prompt }, index) => ({
    url: imageUrl(record, index, origin),
    revised_prompt,
  }));
  return { ...head, data, choices, usage: counted, svg_usage };
}
