import type { Failure } from "../failure.ts";

/** The `type` of an error of this gateway. */
export type ErrorType =
  | "invalid_request_error"
  | "image_generation_user_error"
  | "rate_limit_error"
  | "insufficient_quota"
  | "server_error"
  | "upstream_error";

/** An error as it is sent. */
export interface WireError {
  status: number;
  headers: Record<string, string>;
  body: {
    error: {
      message: string;
      type: string;
      param: string | null;
      code: string | null;
      moderation_details?: unknown;
    };
  };
}

export type Code = Failure["code"];

export type FailureByCode = { [C in Code]: Extract<Failure, { code: C }> };

/** One row for each code. The compiler reports a missing one. */
export type Rows = { [C in Code]: Row<FailureByCode[C]> };

/** The tables of docs/errors.md. */
export type Section = "request" | "access" | "upstream" | "jobs" | "images" | "gateway";

/** Everything about a failure: its wire form, its examples and its documentation. */
export type Row<F extends Failure> = OwnRow<F> | ForwardedRow<F>;

/** A row for an error that this gateway defines itself. */
export interface OwnRow<F extends Failure> extends Documented<F> {
  status: number;
  type: ErrorType;
  message: string | ((failure: F) => string);
  /** The code on the wire, if it differs from the failure's. */
  code?: string;
  /** The parameter on the wire, if it differs from the failure's. */
  param?: string | ((failure: F) => string);
  headers?: (failure: F) => Record<string, string>;
  /** The value of `moderation_details`. */
  details?: (failure: F) => unknown;
}

/** A row for an error whose wire form is that of another error. */
export interface ForwardedRow<F extends Failure> extends Documented<F> {
  wire: (failure: F, toWire: (failure: Failure) => WireError) => WireError;
}

/** The causes of a failure, for the documents. */
export interface Documented<F extends Failure> {
  /** Each cause is a row of docs/errors.md. The first one's example is in the OpenAPI document. */
  causes: readonly [Cause<F>, ...Cause<F>[]];
}

/** One cause of a failure. Several failures, each with several causes, may share a wire code. */
export interface Cause<F extends Failure> {
  /** Decides the code, the status and the SDK retries of the documentation's row. */
  example: F;
  cause: string;
  fix: string;
  /** The table of docs/errors.md, if it is not that of the row's family. */
  section?: Section;
  /** The code in docs/errors.md, if it is not that of the example. */
  shownCode?: string;
  /** The status in docs/errors.md, if it is not that of the example. */
  shownStatus?: string;
}

/** An image, a generation, a job or a batch that does not exist. */
export const NOT_FOUND = { status: 404, type: "invalid_request_error" } as const;

/** Stops the retries of SDKs: a retry may cost a second time, or cannot help. */
export const DO_NOT_RETRY = { "x-should-retry": "false" };

/** Returns a list in words: `a, b or c`. */
export function orList(values: readonly string[]): string {
  // British English has no comma before "or".
  return new Intl.ListFormat("en-GB", { type: "disjunction" }).format(values);
}

/** Returns a sentence about when to retry. */
export function retryAfter(seconds: number): string {
  return `Retry after ${seconds} ${seconds === 1 ? "second" : "seconds"}.`;
}

const NAME_MAX_CHARS = 64;

/** Returns a name that the client chose, cut to a bounded length. */
export function shortened(name: string): string {
  return name.length <= NAME_MAX_CHARS ? name : `${name.slice(0, NAME_MAX_CHARS)}…`;
}
