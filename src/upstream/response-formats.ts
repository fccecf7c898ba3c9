import * as z from "zod";
import type { Resolved } from "../contract/record.ts";
import type { SvgUsage, Usage } from "../contract/usage.ts";
import { truncated } from "../lib/text.ts";
import { chatChoice, mayHoldImage } from "./chat-text.ts";
import { reportedSvgUsage, reportedUsage } from "./usage.ts";

/** An image in an upstream response, not yet decoded or downloaded. */
export interface ImageReference {
  /** Base64 (with or without a `data:` prefix), or an http(s) URL. */
  source: string;
  revisedPrompt: string | undefined;
}

/** A response in any of the supported formats, in one shape. */
export interface UpstreamResponse {
  images: ImageReference[];
  usage: Usage;
  /** True if the usage is that of a chat model, which reports text tokens. */
  isChatUsage: boolean;
  svgUsage: SvgUsage | undefined;
  resolved: Resolved;
}

/** A parameter's value, such as `high`, `1024x1536` or `opaque`. No valid value is longer. */
const parameterSchema = z.string().max(32).optional().catch(undefined);

const parametersSchema = z
  .object({
    background: parameterSchema,
    output_format: parameterSchema,
    quality: parameterSchema,
    size: parameterSchema,
  })
  .catch({});

/** Parses the resolved parameters in a response or an event. */
export function parseParameters(json: unknown): Resolved {
  return parametersSchema.parse(json);
}

/**
 * The limit of a revised prompt, in UTF-16 code units: the longest prompt of any model. Ten of them must fit into
 * one SQLite value of 2 MB and into one Workflow result of 1 MiB.
 */
const REVISED_PROMPT_MAX_LENGTH = 32_000;

/** Control characters have six bytes each in JSON. Only these have a meaning in a text. */
const OTHER_CONTROL = /(?![\t\n\r])\p{Cc}/gu;

const revisedPromptSchema = z
  .string()
  .nullish()
  .catch(undefined)
  .transform((text) =>
    text === undefined || text === null
      ? undefined
      : truncated(text.replaceAll(OTHER_CONTROL, ""), REVISED_PROMPT_MAX_LENGTH).toWellFormed(),
  );

const imagesResponseSchema = z.object({
  data: z
    .array(
      z.object({
        b64_json: z.string().min(1).nullish(),
        url: z.string().min(1).nullish(),
        revised_prompt: revisedPromptSchema,
      }),
    )
    .min(1),
  usage: reportedUsage,
  svg_usage: reportedSvgUsage,
});

const chatCompletionSchema = z.object({
  choices: z.array(chatChoice),
  usage: reportedUsage,
});

/**
 * Parses a JSON response of the Images API (`data[].b64_json` or `data[].url`), or the reference
 * document's chat completion with the image in its content. Returns `undefined` without an image.
 */
export function parseResponse(json: unknown): UpstreamResponse | undefined {
  const imagesResponse = imagesResponseSchema.safeParse(json);
  if (imagesResponse.success) {
    const { data, usage, svg_usage: svgUsage } = imagesResponse.data;
    const images = data.flatMap((item): ImageReference[] => {
      const source = item.b64_json ?? item.url;
      return typeof source === "string" ? [{ source, revisedPrompt: item.revised_prompt }] : [];
    });
    if (images.length === 0) return undefined;
    return { images, usage, isChatUsage: false, svgUsage, resolved: parseParameters(json) };
  }
  const chatCompletion = chatCompletionSchema.safeParse(json);
  if (chatCompletion.success) {
    const { choices, usage } = chatCompletion.data;
    const sources = choices.flatMap((choice) =>
      choice.content === undefined ? [] : imageSourcesIn(choice.content, choice.isBlocked),
    );
    if (sources.length === 0) return undefined;
    return {
      images: sources.map((source) => ({ source, revisedPrompt: undefined })),
      usage,
      isChatUsage: true,
      svgUsage: undefined,
      resolved: {},
    };
  }
  return undefined;
}

const MARKDOWN_IMAGE = /!\[[^\]]*\]\(\s*<?([^)\s>]+)/g;
const BARE_URL = /https?:\/\/[^\s<>"'()[\]]+/g;

/**
 * Returns the images in a chat message: its Markdown images; without them every http(s) URL;
 * without those the whole message, as a `data:` URL or base64, unless it is certain that it is neither.
 *
 * @param isBlocked true if the message explains a moderation block: a URL in it may lead to a policy
 */
function imageSourcesIn(content: string, isBlocked: boolean): string[] {
  const markdown = [...content.matchAll(MARKDOWN_IMAGE)].flatMap((match) => match[1] ?? []);
  if (markdown.length > 0) return markdown;
  const text = content.trim();
  const urls = text.startsWith("data:") || isBlocked ? [] : (text.match(BARE_URL) ?? []);
  if (urls.length > 0) return [...new Set(urls)];
  const isWhole = !/\s/.test(text) && !/https?:/.test(text);
  return mayHoldImage(text) && (isWhole || !isBlocked) ? [text] : [];
}
