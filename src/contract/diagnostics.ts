import type { TokenRow } from "./token-row.ts";

/** The checks, in the order of the response. */
export const CHECK_NAMES = [
  "upstream",
  "model",
  "aliases",
  "kv",
  "object",
  "workflow",
  "budget",
] as const;

/** The result of checking one part of the gateway. */
export interface DiagnosticCheck {
  name: (typeof CHECK_NAMES)[number];
  ok: boolean;
  /** Present if the part works now, but the operator should change something in time. */
  warning?: true | undefined;
  detail: string;
  /** The fix, under the name that the contract gives it. */
  cure?: string | undefined;
}

/**
 * The most output tokens per image that the upstream has reported in the last 31 days, at most four times
 * the tables, for some requested parameters. Upper bounds of the cost grow with them.
 */
export interface LearnedTokensView extends TokenRow {
  output_tokens: number;
  /** YYYY-MM-DD, UTC. */
  day: string;
}

/** The response of `GET /v1/diagnostics`, and of its older name `/v1/doctor`. */
export interface Diagnostics {
  object: "doctor";
  /** The gateway's clock, in Unix milliseconds. */
  now_ms: number;
  checks: DiagnosticCheck[];
  learned_tokens: LearnedTokensView[];
}
