import { numberOf } from "./directives.ts";
import type { ImageRequest } from "./request.ts";
import { inputTokens, outputTokens, sheetSize } from "./tokens.ts";

/** The usage of a server that counts no tokens. */
export const NO_USAGE = usage(0, 0);

/** Fixed counts: a plausible document and the reasoning before it. */
const SVG_TOKENS = { input: 1200, output: 5400, reasoning: 2000 };
const SVG_MODEL = "gpt-5.6-terra";

/** Returns the usage of a request. The directive `tokens` overrides the output tokens. */
export function usageOf(request: ImageRequest) {
  const { prompt, n, format, frames, directives } = request;
  const size = format === "gif" ? sheetSize(frames, request) : request;
  const { width, height } = size;
  const counted = n * outputTokens({ ...request, width, height });
  return usage(inputTokens(prompt), numberOf(directives, "tokens", counted));
}

/** Returns the usage that a response reports, as the directive `usage` says; `undefined` if it has none. */
export function reportedUsage(request: ImageRequest): object | undefined {
  const actual = usageOf(request);
  switch (request.directives.get("usage")) {
    case "none":
      return undefined;
    case "zeros":
      return NO_USAGE;
    case "both":
      return { ...NO_USAGE, ...chatNames(actual) };
    default:
      return actual;
  }
}

/** Returns the same for a chat completion. */
export function reportedChatUsage(request: ImageRequest): object | undefined {
  switch (request.directives.get("usage")) {
    case "none":
      return undefined;
    case "zeros":
      return chatNames(NO_USAGE);
    case "both":
      return reportedUsage(request);
    default:
      return chatNames(usageOf(request));
  }
}

/** Returns the usage of the model that writes an SVG document. */
export function svgUsageOf(request: ImageRequest) {
  const { input, output, reasoning } = SVG_TOKENS;
  return {
    model: request.svgModel ?? SVG_MODEL,
    input_tokens: input,
    output_tokens: output,
    reasoning_tokens: reasoning,
    total_tokens: input + output,
  };
}

function usage(input: number, output: number) {
  return {
    input_tokens: input,
    input_tokens_details: { image_tokens: 0, text_tokens: input },
    output_tokens: output,
    output_tokens_details: { image_tokens: output, text_tokens: 0 },
    total_tokens: input + output,
  };
}

function chatNames({ input_tokens, output_tokens, total_tokens }: ReturnType<typeof usage>) {
  return { prompt_tokens: input_tokens, completion_tokens: output_tokens, total_tokens };
}
