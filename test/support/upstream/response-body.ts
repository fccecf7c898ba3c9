import { HTML } from "./html.ts";
import type { ImageStore } from "./image-store.ts";
import { paintImage, typeOf } from "./images.ts";
import type { ImageRequest } from "./request.ts";
import { reportedChatUsage, reportedUsage, svgUsageOf } from "./usage.ts";

const SCRIPT_SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>';

/** Returns the body of a response with status 200, in the form that the directive `answer` says. */
export async function bodyFor(request: ImageRequest, store: ImageStore): Promise<string> {
  const answer = request.directives.get("answer");
  switch (answer) {
    case "html":
      return HTML;
    case "empty":
      return "";
    case "no-images":
      return JSON.stringify({ created: nowSeconds(), data: [] });
    case "bad-base64":
      return JSON.stringify({ data: [{ b64_json: `${"A".repeat(2000)}*?` }] });
    case "svg":
      return JSON.stringify({ data: [{ b64_json: Buffer.from(SCRIPT_SVG).toString("base64") }] });
    case "html-as-png":
      return JSON.stringify({
        data: [{ b64_json: Buffer.from(HTML.repeat(50)).toString("base64") }],
      });
    case "words":
    case "refused":
    case "filtered":
      return JSON.stringify(textCompletion(answer));
    case "long-text": {
      const body = JSON.stringify(await imageBody(request, store));
      return `{"text":"${"a ".repeat(5_000_000)}",${body.slice(1)}`;
    }
    case "truncated": {
      const whole = JSON.stringify(await imageBody(request, store));
      return whole.slice(0, Math.floor(whole.length / 2));
    }
    case "escaped":
      return JSON.stringify(await imageBody(request, store)).replaceAll("/", "\\/");
    default:
      return JSON.stringify(await imageBody(request, store));
  }
}

/** The forms of a chat completion without an image. */
type TextAnswer = "words" | "refused" | "filtered";

const DECLINED = "I'm sorry, but I can't help with that and/or similar requests (policy 4.2).";

/** The messages of a chat model that generates no image, and their finish reasons. */
const TEXT_MESSAGES = {
  words: { message: { content: DECLINED, refusal: null }, finish_reason: "stop" },
  refused: { message: { content: null, refusal: DECLINED }, finish_reason: "stop" },
  filtered: { message: { content: "", refusal: null }, finish_reason: "content_filter" },
} as const;

function textCompletion(answer: TextAnswer) {
  const { message, finish_reason } = TEXT_MESSAGES[answer];
  return {
    id: `chatcmpl-${crypto.randomUUID()}`,
    object: "chat.completion",
    created: nowSeconds(),
    model: "a-chat-model",
    choices: [
      { index: 0, message: { role: "assistant", ...message }, logprobs: null, finish_reason },
    ],
    usage: {
      prompt_tokens: 9,
      completion_tokens: 19,
      total_tokens: 28,
      completion_tokens_details: { reasoning_tokens: 0, image_tokens: 0 },
    },
    system_fingerprint: null,
  };
}

/** Returns the chunks in which a chat model streams a completion without an image, if the directive says so. */
export function textChunks({ directives }: ImageRequest): unknown[] | undefined {
  const answer = directives.get("answer");
  if (answer !== "words" && answer !== "refused" && answer !== "filtered") return undefined;
  const { message, finish_reason } = TEXT_MESSAGES[answer];
  const { usage, ...completion } = textCompletion(answer);
  const chunk = (delta: object, finish: string | null = null) => ({
    ...completion,
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
  });
  const deltas = Object.entries(message).flatMap(([name, text]) =>
    (text ?? "").split(/(?<= )/).map((word) => ({ [name]: word })),
  );
  return [
    chunk({ role: "assistant", content: "" }),
    ...deltas.map((delta) => chunk(delta)),
    chunk({}, finish_reason),
    { ...chunk({}), choices: [], usage },
  ];
}

/** Returns the current time in seconds since the epoch. */
export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

/** Returns the fields that a JSON body and a completed event share. */
export function resolvedFields(request: ImageRequest) {
  return {
    background: request.background,
    output_format: request.format,
    quality: request.quality,
    size: `${request.width}x${request.height}`,
  };
}

/** Paints the images, and returns the JSON body. A field that is `undefined` is absent from it. */
async function imageBody(request: ImageRequest, store: ImageStore): Promise<unknown> {
  const images = await Promise.all(
    Array.from({ length: request.n }, (_, index) => paintImage(request, index, store.trackUrl)),
  );
  const created = nowSeconds();
  if (request.dialect.startsWith("chat-")) {
    return {
      id: "chatcmpl-simulated",
      object: "chat.completion",
      created,
      choices: images.map((image, index) => ({
        index,
        message: { role: "assistant", content: chatContent(request, image, index, store) },
        finish_reason: "stop",
      })),
      usage: reportedChatUsage(request),
    };
  }
  const data = images.map((image, index) =>
    request.dialect === "url"
      ? { url: store.store(image, request, index) }
      : { b64_json: image.toString("base64") },
  );
  if (request.profile !== undefined) {
    return request.profile.responseBody({ created, data, prompt: request.prompt });
  }
  if (request.model === "dall-e-3") {
    const revised_prompt = `An image of: ${request.prompt}`;
    return { created, data: data.map((item) => ({ ...item, revised_prompt })) };
  }
  if (request.model.startsWith("dall-e")) return { created, data };
  return {
    created,
    ...resolvedFields(request),
    data,
    safety_identifier: request.identifier,
    usage: reportedUsage(request),
    svg_usage: request.format === "svg" ? svgUsageOf(request) : undefined,
  };
}

function chatContent(
  request: ImageRequest,
  image: Buffer,
  index: number,
  store: ImageStore,
): string {
  switch (request.dialect) {
    case "chat-url":
      return `Here it is: ${store.store(image, request, index)}`;
    case "chat-data": {
      const type = typeOf(request);
      const subtype = type === "svg" ? "svg+xml" : type;
      return `data:image/${subtype};base64,${image.toString("base64")}`;
    }
    default:
      return `Here it is:\n\n![image](${store.store(image, request, index)})`;
  }
}
