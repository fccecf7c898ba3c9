import { MAX_JSON_DEPTH } from "../../lib/json-depth.ts";
import { orList, shortened, type Rows } from "./row.ts";

const INVALID = { status: 400, type: "invalid_request_error" } as const;

const JSON_PROBLEMS = {
  malformed: "The body is not valid JSON. Send a JSON object in UTF-8.",
  not_an_object: "The body must be a JSON object.",
  too_deep: `The body is nested too deeply. At most ${MAX_JSON_DEPTH} levels are allowed.`,
};

/** Returns a sentence about the operator, with a space before it; nothing without a variable. */
function operatorCan(effect: string, variable: string | undefined): string {
  return variable === undefined
    ? ""
    : ` The operator of this gateway can ${effect} with ${variable}.`;
}

/** The errors of any JSON body and of its parameters. */
export const REQUEST_ROWS = {
  invalid_json: {
    ...INVALID,
    message: ({ problem }) => JSON_PROBLEMS[problem],
    causes: [
      {
        example: { code: "invalid_json", problem: "malformed" },
        cause: "The body is empty, is not valid JSON or is not UTF-8.",
        fix: "Send a JSON object in UTF-8.",
      },
      {
        example: { code: "invalid_json", problem: "not_an_object" },
        cause: "The body, or the `body` of a request in a batch, is valid JSON but not an object.",
        fix: "Send a JSON object.",
      },
      {
        example: { code: "invalid_json", problem: "too_deep" },
        cause: `The body is nested more than ${MAX_JSON_DEPTH} levels deep.`,
        fix: "Send a body with fewer levels.",
      },
    ],
  },
  unsupported_media_type: {
    ...INVALID,
    status: 415,
    message: "Send the body as JSON, with the header 'Content-Type: application/json'.",
    causes: [
      {
        example: { code: "unsupported_media_type" },
        cause: "`Content-Type` is missing or is not JSON.",
        fix: "Send `Content-Type: application/json`.",
      },
    ],
  },
  request_too_large: {
    ...INVALID,
    status: 413,
    message: ({ limitBytes }) =>
      `The body is larger than the limit of ${limitBytes} bytes. Shorten it.${operatorCan("raise the limit", "MAX_BODY_BYTES")}`,
    causes: [
      {
        example: { code: "request_too_large", limitBytes: 65_536 },
        cause:
          "The body is larger than `MAX_BODY_BYTES`. The limit of a batch is sixteen times that.",
        fix: "Shorten the body. Split a batch. Operator: raise `MAX_BODY_BYTES`.",
      },
    ],
  },
  missing_required_parameter: {
    ...INVALID,
    message: ({ param }) => `'${param}' is required.`,
    causes: [
      {
        example: { code: "missing_required_parameter", param: "prompt" },
        cause:
          "`param` is missing: `prompt`; `n` and `size` if `REQUIRE_DOCUMENTED_FIELDS` is set; `requests` or `custom_id` of a batch; `sub` or `ttl_seconds` of a token.",
        fix: "Send the parameter.",
      },
    ],
  },
  invalid_type: {
    ...INVALID,
    message: ({ param, expected, received }) => `'${param}' must be ${expected}, not ${received}.`,
    causes: [
      {
        example: {
          code: "invalid_type",
          param: "n",
          expected: "an integer",
          received: "a string",
        },
        cause:
          "`param` has the wrong JSON type: a string for a number, a decimal number for an integer, or `null` for a required parameter.",
        fix: "Send the type in the message.",
      },
    ],
  },
  invalid_value: {
    ...INVALID,
    message: ({ param, allowed, variable }) =>
      `'${param}' must be ${orList(allowed)}.${operatorCan("allow more", variable)}`,
    causes: [
      {
        example: { code: "invalid_value", param: "quality", allowed: ["low", "medium", "high"] },
        cause:
          "`param` has a fixed list of values, and the value is not in it. `output_format` `svg` requires `SVG_MODELS`.",
        fix: "Use a value from the list in the message. Operator: set the variable in the message.",
      },
      {
        section: "access",
        example: { code: "invalid_value", param: "quality", allowed: ["low"] },
        cause: "`quality`: the token does not allow it.",
        fix: "Use a value from the list in the message.",
      },
    ],
  },
  malformed_value: {
    ...INVALID,
    code: "invalid_value",
    message: ({ param, problem }) => `'${param}' ${problem}.`,
    causes: [
      {
        section: "jobs",
        example: {
          code: "malformed_value",
          param: "webhook_url",
          problem: "must be a public https URL",
        },
        cause:
          "`webhook_url` is not a public https URL. Its host must be a name, and a port or a user name is not allowed. Or its host is not in `WEBHOOK_HOSTS`.",
        fix: "Use another URL. Operator: add the host to `WEBHOOK_HOSTS`.",
      },
      {
        example: { code: "malformed_value", param: "sub", problem: "must not be empty" },
        cause:
          "A parameter of `POST /v1/tokens` breaks its rule: the characters of `sub`, the form of `origins`, an empty list or too many entries.",
        fix: "Follow the rule in the message.",
      },
      {
        section: "jobs",
        example: { code: "malformed_value", param: "requests", problem: "must not be empty" },
        cause:
          "`requests` is empty or has more than 100 entries. Or another request of the batch has the same `custom_id`.",
        fix: "Send 1 to 100 requests, each with its own `custom_id`.",
      },
      {
        section: "access",
        example: {
          code: "malformed_value",
          param: "day",
          problem: "must be a day such as 2026-11-26",
        },
        cause: "`day` of `DELETE /v1/usage/uncertain` is not a date.",
        fix: "Send a UTC day as YYYY-MM-DD, or none for all days.",
      },
    ],
  },
  empty_string: {
    ...INVALID,
    message: ({ param }) => `'${param}' must not be empty.`,
    causes: [
      {
        example: { code: "empty_string", param: "prompt" },
        cause: "`param` is empty.",
        fix: "Send text, or omit an optional parameter.",
      },
    ],
  },
  string_above_max_length: {
    ...INVALID,
    message: ({ param, maxChars, chars, raisable }) =>
      `'${param}' has ${chars} characters. At most ${maxChars} are allowed.${
        raisable === undefined
          ? ""
          : operatorCan(`raise the limit to ${raisable.maxChars}`, raisable.variable)
      }`,
    causes: [
      {
        example: { code: "string_above_max_length", param: "prompt", maxChars: 1000, chars: 1204 },
        cause:
          "`param` is too long: `prompt` (`PROMPT_MAX_CHARS` or the limit of the model), `user` and `safety_identifier` (64), a parameter of `EXTRA_PARAMETERS` (4000), the headers `Idempotency-Key` and `webhook-id` (255), `webhook_url` (2048), `custom_id` (64), `turnstile_token` (2048), a name or an origin of a token (200).",
        fix: "Shorten it to the limit in the message. Operator: raise `PROMPT_MAX_CHARS` for a prompt.",
      },
    ],
  },
  integer_below_min_value: {
    ...INVALID,
    message: ({ param, min }) => `'${param}' must be at least ${min}.`,
    causes: [
      {
        example: { code: "integer_below_min_value", param: "n", min: 1 },
        cause: "`param` is too small.",
        fix: "Use at least the minimum in the message.",
      },
    ],
  },
  integer_above_max_value: {
    ...INVALID,
    message: ({ param, max }) => `'${param}' must be at most ${max}.`,
    causes: [
      {
        example: { code: "integer_above_max_value", param: "n", max: 10 },
        cause: "`param` is too large for the endpoint or the model.",
        fix: "Use at most the maximum in the message.",
      },
      {
        section: "access",
        example: { code: "integer_above_max_value", param: "n", max: 2 },
        cause: "`n` is larger than the token allows in one request.",
        fix: "Send several requests.",
      },
    ],
  },
  unknown_parameter: {
    ...INVALID,
    param: ({ param }) => shortened(param),
    message: ({ param, model, variable }) => {
      const target = model === undefined ? "this endpoint" : `the model '${shortened(model)}'`;
      const operator = operatorCan("allow it", variable);
      return `'${shortened(param)}' is not a parameter of ${target}. Remove it.${operator}`;
    },
    causes: [
      {
        example: { code: "unknown_parameter", param: "seed", model: undefined },
        cause:
          "The endpoint does not accept `param`. `turnstile_token`: Turnstile is off. `svg`: `SVG_MODELS` is not set. A parameter of another server: `EXTRA_PARAMETERS` does not name it.",
        fix: "Remove the parameter. Operator: set the variable in the message.",
      },
      {
        example: { code: "unknown_parameter", param: "style", model: "gpt-image-2" },
        cause: "The model does not accept `param`.",
        fix: "Remove the parameter, or use a model that accepts it.",
      },
    ],
  },
} satisfies Partial<Rows>;
