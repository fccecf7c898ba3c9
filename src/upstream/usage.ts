import * as z from "zod";
import { MAX_TOKENS, NO_USAGE, type SvgUsage, type Usage } from "../contract/usage.ts";

/**
 * Parses a number of tokens and rounds it. Returns `undefined` for other types, and for numbers that are
 * negative, not finite or above `MAX_TOKENS`.
 */
const count = z.number().min(0).max(MAX_TOKENS).transform(Math.round).optional().catch(undefined);

/** The most entries of a breakdown that are kept. The API has two. */
const MAX_DETAILS = 8;
const DETAIL_NAME = /^\w{1,40}$/;

/** The breakdown of a number of tokens, such as by text and image. */
const details = z
  .record(z.string(), z.unknown())
  .transform((reported) => {
    const counts = Object.entries(reported).flatMap(([name, value]) => {
      const tokens = count.parse(value);
      return tokens === undefined || !DETAIL_NAME.test(name) ? [] : [[name, tokens] as const];
    });
    return Object.fromEntries(counts.slice(0, MAX_DETAILS));
  })
  .optional()
  .catch(undefined);

/**
 * Token counts under the API's names or the reference document's. Servers report both, one of them 0: the
 * count that is not 0 is the reported one. A missing or invalid count is 0. The total is the sum, because a
 * reported one may contain an invalid count. It is the reported one only if the sum is 0.
 */
export const reportedUsage = z
  .object({
    input_tokens: count,
    output_tokens: count,
    prompt_tokens: count,
    completion_tokens: count,
    total_tokens: count,
    input_tokens_details: details,
    output_tokens_details: details,
  })
  .transform((reported): Usage => {
    const input = firstAboveZero(reported.input_tokens, reported.prompt_tokens);
    const output = firstAboveZero(reported.output_tokens, reported.completion_tokens);
    return {
      input_tokens: input,
      output_tokens: output,
      total_tokens: firstAboveZero(input + output, reported.total_tokens),
      input_tokens_details: reported.input_tokens_details,
      output_tokens_details: reported.output_tokens_details,
    };
  })
  .catch(NO_USAGE);

const MODEL_MAX_CHARS = 128;

/** The tokens of the model that wrote an SVG; `undefined` without a report. */
export const reportedSvgUsage = z
  .object({
    model: z.string().max(MODEL_MAX_CHARS),
    input_tokens: count,
    output_tokens: count,
    reasoning_tokens: count,
    total_tokens: count,
  })
  .transform((reported): SvgUsage => {
    const { model, input_tokens: input = 0, output_tokens: output = 0 } = reported;
    return {
      model,
      input_tokens: input,
      output_tokens: output,
      reasoning_tokens: reported.reasoning_tokens ?? 0,
      total_tokens: firstAboveZero(input + output, reported.total_tokens),
    };
  })
  .optional()
  .catch(undefined);

function firstAboveZero(...counts: readonly (number | undefined)[]): number {
  return counts.find((tokens) => tokens !== undefined && tokens > 0) ?? 0;
}
