import * as z from "zod";
import type { Failure } from "../errors/failure.ts";

/*
 * Chat completions without an image. A chat model that does not generate responds in words, with a refusal
 * field or with the finish reason `content_filter`. Nothing is charged if it is certain that no image was
 * generated. So this file accepts only responses whose every field it knows.
 */

/** Longer texts are not searched. A model that declines a request writes a few sentences. */
const TEXT_MAX_CHARS = 32_000;

/** What may be an image or lead to one. Each pattern takes linear time. */
const IMAGE_LIKE: readonly RegExp[] = [
  // Markdown and HTML.
  /!\[|<(?:a|embed|iframe|image|img|object|picture|source|svg)\b/i,
  // A data: URL, a URL of any scheme, a host with a path, a path, a file.
  /data:\S|;base64,|\w:\/\S|\/\/|\bwww\./i,
  /\w\.[a-z]{2,}\/\S|(?:^|[\s"'`(<[{=])\.{0,2}\/[\w.]/i,
  /\.(?:avif|bmp|gif|heic|jpe?g|png|svg|tiff?|webp)\b/i,
  // Base64, also in lines, or the token of extracted base64. A UUID is shorter.
  /[\w+/=-]{37,}/,
];

/** Returns true if a text may be an image or contain one. False only if it is certain that it does not. */
export function mayHoldImage(text: string): boolean {
  return text.length > TEXT_MAX_CHARS || IMAGE_LIKE.some((pattern) => pattern.test(text));
}

/** A choice of a chat completion: its text, and the fields that declare a moderation block. */
export const chatChoice = z
  .object({
    finish_reason: z.string().optional().catch(undefined),
    message: z
      .object({
        content: z.string().optional().catch(undefined),
        refusal: z.string().optional().catch(undefined),
      })
      .catch({}),
  })
  .transform(({ finish_reason: finishReason, message: { content, refusal } }) => ({
    content,
    isBlocked: finishReason === "content_filter" || Boolean(refusal?.trim()),
  }));

const chatCompletion = z.object({ choices: z.array(chatChoice) });

/**
 * Returns the failure for a response without an image: a moderation block if a choice of a chat completion
 * declares one, otherwise `upstream_invalid_response`. The latter was not charged if the response is a chat
 * completion in words.
 *
 * @param reason of an `upstream_invalid_response` that may have been charged
 */
export function failureWithoutImage(json: unknown, reason = "it contains no image"): Failure {
  const isBlocked = chatCompletion.safeParse(json).data?.choices.some((each) => each.isBlocked);
  if (isBlocked === true) return { code: "moderation_blocked", details: undefined };
  return isText(json)
    ? {
        code: "upstream_invalid_response",
        reason: "it is text without an image",
        mayHaveCharged: false,
      }
    : { code: "upstream_invalid_response", reason };
}

/** A text that is certainly no image. */
const words = z.string().refine((text) => text.trim() !== "" && !mayHoldImage(text));

/** Ends a complete message. After any other reason, such as `length` or `tool_calls`, an image may follow. */
const complete = z
  .string()
  .regex(/^(?:stop|end_turn|eos)$/i)
  .nullish();

const noImageTokens = z.object({ image_tokens: z.literal(0).nullish() }).nullish();

/** A field that says nothing about images. */
const ignored = z.unknown().optional();

/** Returns the schema of an object whose other fields are all empty. */
function only<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.object(shape).catchall(z.unknown().refine((value) => isEmpty(value)));
}

/** Returns the schema of a chat completion in words. It is rarely used, so it does not delay the start. */
const textCompletion = () =>
  only({
    id: ignored,
    object: ignored,
    created: ignored,
    model: ignored,
    provider: ignored,
    system_fingerprint: ignored,
    service_tier: ignored,
    prompt_filter_results: ignored,
    x_groq: ignored,
    usage: z
      .object({ completion_tokens_details: noImageTokens, output_tokens_details: noImageTokens })
      .nullish(),
    choices: z
      .array(
        only({
          index: ignored,
          logprobs: ignored,
          native_finish_reason: ignored,
          stop_reason: ignored,
          content_filter_results: ignored,
          finish_reason: complete,
          message: only({
            role: ignored,
            reasoning: ignored,
            reasoning_content: ignored,
            reasoning_details: ignored,
            content: z.union([
              words,
              z
                .array(z.strictObject({ type: z.enum(["text", "output_text"]), text: words }))
                .min(1),
            ]),
          }),
        }),
      )
      .min(1),
  });

/** Returns true if a response is a chat completion in words: it is certain that it has no image. */
function isText(json: unknown): boolean {
  return textCompletion().safeParse(json).success;
}

const EMPTY_MAX_DEPTH = 4;

/** Returns true for null, an empty text, and an object or a list without any other value. */
function isEmpty(value: unknown, depth = 0): boolean {
  if (value === undefined || value === null || value === "") return true;
  if (typeof value !== "object" || depth === EMPTY_MAX_DEPTH) return false;
  return Object.values(value).every((each) => isEmpty(each, depth + 1));
}

type Fields = Record<string, unknown>;

const fields = z.record(z.string(), z.unknown());
const chunk = z.looseObject({
  choices: z.array(
    z.looseObject({
      index: z.int().min(0).max(9).catch(0),
      delta: fields.optional(),
      message: fields.optional(),
    }),
  ),
});

/** Assembles the chunks of a streamed chat completion. */
export class ChatChunks {
  #response: Fields = {};
  readonly #choices = new Map<number, Fields & { message: Fields }>();
  #chars = 0;
  #isOnlyChat = true;

  /** Adds an event of the stream. */
  add(event: unknown): void {
    const { data } = chunk.safeParse(event);
    if (data === undefined) {
      this.#isOnlyChat = false;
      return;
    }
    const { choices, ...response } = data;
    merge(this.#response, response);
    for (const { index, delta, message, ...choice } of choices) {
      const known = this.#choices.get(index) ?? { message: {} };
      this.#choices.set(index, known);
      merge(known, choice);
      this.#append(known.message, { ...message, ...delta });
    }
  }

  /** Adds the fields of a chunk to a message: texts continue, and other values are replaced. */
  #append(message: Fields, delta: Fields): void {
    for (const [name, value] of Object.entries(delta)) {
      const before = message[name];
      if (typeof value !== "string" || typeof before !== "string") {
        merge(message, { [name]: value });
      } else if (this.#chars <= TEXT_MAX_CHARS) message[name] = before + value;
      if (typeof value === "string") this.#chars += value.length;
    }
  }

  /**
   * Returns the failure for a stream that ended without an image.
   *
   * @param reason of an `upstream_invalid_response` that may have been charged
   */
  failure(reason: string): Failure {
    const choices = [...this.#choices.values()];
    const failure = failureWithoutImage({ ...this.#response, choices }, reason);
    // Without a finish reason the stream may have been cut, and other events may announce an image.
    const isWhole =
      this.#isOnlyChat &&
      this.#chars <= TEXT_MAX_CHARS &&
      choices.every((choice) => "finish_reason" in choice);
    return isWhole || failure.code === "moderation_blocked"
      ? failure
      : { code: "upstream_invalid_response", reason };
  }
}

function merge(target: Fields, source: Fields): void {
  for (const [name, value] of Object.entries(source)) {
    if (!isEmpty(value)) target[name] = value;
  }
}
