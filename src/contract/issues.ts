import type * as z from "zod";
import type { Failure } from "../errors/failure.ts";
import { countCodePoints } from "../lib/text.ts";

type Issue = z.core.$ZodIssue;

/** The type that a schema expects of a parameter that its model does not accept. */
const NOT_ACCEPTED = "undefined";

/**
 * Returns the failure for zod's issues: the first problem in the API's order of checks.
 *
 * @param issues at least one, each with its `input` (zod's `reportInput`)
 * @param order the parameters in the order in which they are checked
 * @param model named in the message about a parameter that it does not accept; `undefined` if the body
 *   has no model
 */
export function failureOfIssues(
  issues: readonly Issue[],
  order: readonly string[],
  model: string | undefined,
): Failure {
  const ranked = issues.map((issue) => ({ issue, rank: rankOf(issue, order) }));
  const first = Math.min(...ranked.map(({ rank }) => rank));
  // An integer past 2^53 has two issues, and the second one names the parameter's own bound.
  const issue = ranked.findLast(({ rank }) => rank === first)?.issue;
  return issue === undefined ? { code: "internal_error" } : translate(issue, model);
}

/** Ranks unknown names right after the model, then the parameters in their order. */
function rankOf(issue: Issue, order: readonly string[]): number {
  if (issue.code === "unrecognized_keys" || isNotAccepted(issue)) return 0;
  return 1 + order.indexOf(String(issue.path[0]));
}

function translate(issue: Issue, model: string | undefined): Failure {
  const param = paramOf(issue.path);
  switch (issue.code) {
    case "unrecognized_keys":
      return {
        code: "unknown_parameter",
        param: paramOf([...issue.path, ...issue.keys.slice(0, 1)]),
        model: undefined,
      };
    case "invalid_type":
      if (isNotAccepted(issue)) return { code: "unknown_parameter", param, model };
      if (issue.input === undefined) return { code: "missing_required_parameter", param };
      return invalidType(param, issue.expected, issue.input);
    case "invalid_value":
      return typeof issue.input === "string"
        ? { code: "invalid_value", param, allowed: issue.values.map(String) }
        : invalidType(param, "string", issue.input);
    case "invalid_union":
      return invalidType(param, "a string, a number or a boolean", issue.input);
    case "invalid_format":
    case "custom":
      return { code: "malformed_value", param, problem: issue.message };
    case "too_small":
      if (issue.origin === "array") {
        return { code: "malformed_value", param, problem: "must not be empty" };
      }
      return issue.origin === "string"
        ? { code: "empty_string", param }
        : { code: "integer_below_min_value", param, min: Number(issue.minimum) };
    case "too_big": {
      const max = Number(issue.maximum);
      if (issue.origin === "array") {
        return { code: "malformed_value", param, problem: `may have at most ${max} entries` };
      }
      return issue.origin === "string"
        ? {
            code: "string_above_max_length",
            param,
            maxChars: max,
            chars: countCodePoints(String(issue.input)),
          }
        : { code: "integer_above_max_value", param, max };
    }
    default:
      // No schema of ours raises the others.
      return { code: "internal_error" };
  }
}

/** Returns the failure for a value of the wrong JSON type. */
export function invalidType(param: string, expected: string, input: unknown): Failure {
  return {
    code: "invalid_type",
    param,
    expected: EXPECTED[expected] ?? expected,
    received: typeName(input),
  };
}

/** zod reports `int` for a decimal number, and `number` for any other JSON type. */
const EXPECTED: Record<string, string> = {
  int: "an integer",
  number: "a number",
  string: "a string",
  boolean: "a boolean",
  array: "an array",
};

function typeName(input: unknown): string {
  if (input === null) return "null";
  if (Array.isArray(input)) return "an array";
  if (typeof input === "object") return "an object";
  if (typeof input === "number") {
    if (!Number.isFinite(input)) return "a number that is too large";
    return Number.isInteger(input) ? "an integer" : "a decimal number";
  }
  return `a ${typeof input}`;
}

function isNotAccepted(issue: Issue): boolean {
  return issue.code === "invalid_type" && issue.expected === NOT_ACCEPTED;
}

/** Returns the place of a problem in a body, in the API's notation: `origins[0]`, `svg.model`. */
function paramOf(path: Issue["path"]): string {
  return path.reduce<string>(
    (param, step) =>
      typeof step === "number"
        ? `${param}[${step}]`
        : param === ""
          ? String(step)
          : `${param}.${String(step)}`,
    "",
  );
}
