import { z } from "zod";
import { NO_USAGE, type Resolved, type Usage } from "../contract/record.ts";

/** Where the bytes of a picture are. */
export interface PictureSource {
  /** Base64 (with or without a `data:` prefix), or an http(s) URL. */
  text: string;
  revisedPrompt: string | undefined;
}

/** An answer in any of the upstream's dialects, in one shape. */
export interface UpstreamAnswer {
  pictures: PictureSource[];
  usage: Usage;
  resolved: Resolved;
}

const tokens = z.int().min(0).catch(0);
const tokenDetails = z.record(z.string(), z.int().min(0)).optional().catch(undefined);

/** Token counts under the API's names or the reference document's; 0 for what is missing or odd. */
export const usageSchema = z
  .object({
    input_tokens: tokens.optional(),
    output_tokens: tokens.optional(),
    prompt_tokens: tokens.optional(),
    completion_tokens: tokens.optional(),
    total_tokens: tokens.optional(),
    input_tokens_details: tokenDetails,
    output_tokens_details: tokenDetails,
  })
  .transform((reported): Usage => {
    const input = reported.input_tokens ?? reported.prompt_tokens ?? 0;
    const output = reported.output_tokens ?? reported.completion_tokens ?? 0;
    return {
      input_tokens: input,
      output_tokens: output,
      total_tokens: reported.total_tokens ?? input + output,
      input_tokens_details: reported.input_tokens_details,
      output_tokens_details: reported.output_tokens_details,
    };
  })
  .catch(NO_USAGE);

/** `high`, `1024x1536`, `opaque`: nothing longer is a parameter's value. */
const parameter = z.string().max(32).optional().catch(undefined);

const parameters = z
  .object({ background: parameter, output_format: parameter, quality: parameter, size: parameter })
  .catch({});

/** What an answer or an event says of the parameters. */
export function readParameters(json: unknown): Resolved {
  return parameters.parse(json);
}

const REVISED_PROMPT_MAX_CHARS = 32_000;
const revisedPrompt = z
  .string()
  .max(REVISED_PROMPT_MAX_CHARS)
  .nullish()
  .catch(undefined)
  .transform((text) => text ?? undefined);

const imagesAnswer = z.object({
  data: z
    .array(
      z.object({
        b64_json: z.string().min(1).nullish(),
        url: z.string().min(1).nullish(),
        revised_prompt: revisedPrompt,
      }),
    )
    .min(1),
  usage: usageSchema,
});

const chatAnswer = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string().min(1) }) })).min(1),
  usage: usageSchema,
});

/**
 * Reads a JSON answer: the Images API's (`data[].b64_json` or `data[].url`), or the reference
 * document's chat completion with the picture in its content. `undefined` when it holds no picture.
 */
export function readAnswer(json: unknown): UpstreamAnswer | undefined {
  const images = imagesAnswer.safeParse(json);
  if (images.success) {
    const { data, usage } = images.data;
    const pictures = data.flatMap((item): PictureSource[] => {
      const text = item.b64_json ?? item.url;
      return typeof text === "string" ? [{ text, revisedPrompt: item.revised_prompt }] : [];
    });
    return pictures.length === 0 ? undefined : { pictures, usage, resolved: readParameters(json) };
  }
  const chat = chatAnswer.safeParse(json);
  if (chat.success) {
    const contents = chat.data.choices.map((choice) => choice.message.content);
    return {
      pictures: contents.flatMap(picturesIn).map((text) => ({ text, revisedPrompt: undefined })),
      usage: chat.data.usage,
      resolved: {},
    };
  }
  return undefined;
}

const MARKDOWN_IMAGE = /!\[[^\]]*\]\(\s*<?([^)\s>]+)/g;
const BARE_URL = /https?:\/\/[^\s<>"'()[\]]+/g;

/**
 * The pictures in a chat message: its Markdown images; else every address in it; else the whole of
 * it, as a `data:` URL or base64.
 */
function picturesIn(content: string): string[] {
  const markdown = [...content.matchAll(MARKDOWN_IMAGE)].flatMap((match) => match[1] ?? []);
  if (markdown.length > 0) return markdown;
  const addresses = content.startsWith("data:") ? [] : (content.match(BARE_URL) ?? []);
  return addresses.length > 0 ? [...new Set(addresses)] : [content.trim()];
}
