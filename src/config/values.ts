import * as z from "zod";
import { MICRO_PER_DOLLAR, pricesSchema, type Prices } from "../contract/pricing.ts";
import { isParameter, SENDABLE_DEFAULTS } from "../contract/request-body.ts";
import { svgModelsSchema, type SvgModels } from "../contract/svg-pricing.ts";
import { valueOfJson } from "../lib/json.ts";

/*
 * The forms of variables. Each message completes a sentence that starts with the variable's name. No
 * message quotes the value, which may be a secret.
 */

const ADMIN_KEY_MIN_CHARS = 20;

/** As many characters as HMAC-SHA256 has bytes: shorter keys weaken it (RFC 2104, 3). */
const TOKEN_SECRET_MIN_CHARS = 32;

/** Standard Webhooks, "Signature scheme": a prefix, then the base64 of random bytes. */
const WEBHOOK_SECRET = /^whsec_(?=[A-Za-z0-9+/]+=*$)(.{32,88})$/;
const WEBHOOK_SECRET_MIN_BYTES = 24;
const WEBHOOK_SECRET_MAX_BYTES = 64;

/** More than any server has, and few enough to check in every request. */
const MAX_EXTRA_PARAMETERS = 32;

const MODEL_ID = /^[\w.:/@-]{1,128}$/;

/** Reports the problem of a value. */
export function problem(ctx: z.RefinementCtx, message: string, path: string[] = []): never {
  ctx.addIssue({ code: "custom", path, message });
  return z.NEVER;
}

/** Returns the schema of a binding, whose kind one of its methods identifies. */
export const binding = <Binding>(method: string, kind: string) =>
  z.custom<Binding>(
    (value) => typeof value === "object" && value !== null && method in value,
    `must be bound to ${kind}`,
  );

/** Any text. TOML numbers and booleans become strings; an empty string counts as unset. */
export const text = z
  .union([z.string(), z.number(), z.boolean()], "must be a string, a number or a boolean")
  .transform((value) => (value === "" ? undefined : String(value)))
  .optional();

/** Returns the schema of a text with a default. */
export const textOr = (preset: string) => text.transform((value) => value ?? preset);

/** Returns the schema of a whole number in a range, with a default. */
export const integer = (min: number, max: number, preset: number) =>
  text.transform((value, ctx) => {
    if (value === undefined) return preset;
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (number >= min && number <= max) return number;
    return problem(ctx, `must be a whole number from ${min} to ${max}`);
  });

/** Dollars with at most six decimals, as micro-dollars. */
export const dollars = text.transform((value, ctx) => {
  if (value === undefined) return undefined;
  if (/^\d{1,6}(?:\.\d{1,6})?$/.test(value)) return Math.round(Number(value) * MICRO_PER_DOLLAR);
  return problem(ctx, "must be an amount in dollars, such as 5 or 0.50");
});

/** A boolean; `false` if unset. */
export const flag = text.transform((value, ctx) => {
  if (value === undefined || value === "false") return false;
  return value === "true" ? true : problem(ctx, 'must be "true" or "false"');
});

const list = text.transform((value): readonly string[] =>
  (value ?? "")
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== ""),
);

/** A list of model ids. */
export const modelIds = list.transform((ids, ctx) =>
  ids.every((id) => MODEL_ID.test(id))
    ? ids
    : problem(ctx, "must be a comma-separated list of model ids"),
);

/** `from=to` pairs, as a map from what clients request to what the upstream is sent. */
export const aliases = list.transform((pairs, ctx): ReadonlyMap<string, string> => {
  const entries = pairs.map((pair) => pair.split("=").map((id) => id.trim()));
  return entries.every((ids): ids is [string, string] => isPair(ids))
    ? new Map(entries)
    : problem(ctx, "must be a comma-separated list of pairs of model ids, such as from=to");
});

function isPair(ids: readonly string[]): boolean {
  return ids.length === 2 && ids.every((id) => MODEL_ID.test(id));
}

/** A list of origins, or `*`. */
export const origins = list.transform((values, ctx) =>
  values.every((value) => value === "*" || URL.parse(value)?.origin === value)
    ? values
    : problem(ctx, 'must be "*" or a comma-separated list of origins, such as https://example.com'),
);

/** A list of hosts, or `*`. */
export const hosts = list.transform((values, ctx) =>
  values.every((value) => value === "*" || URL.parse(`https://${value}/`)?.hostname === value)
    ? values
    : problem(ctx, 'must be "*" or a comma-separated list of hosts, such as hooks.example.com'),
);

/** A key that the operator chooses, long enough not to be guessed. */
export const adminKey = text.transform((value, ctx) =>
  value === undefined || value.length >= ADMIN_KEY_MIN_CHARS
    ? value
    : problem(ctx, `must have at least ${ADMIN_KEY_MIN_CHARS} characters`),
);

/** A key that is sent in a header. */
export const apiKey = text.transform((value, ctx) =>
  value === undefined || /^[\x21-\x7e]+$/.test(value)
    ? value
    : problem(ctx, "must have no spaces, line breaks or characters outside ASCII"),
);

/** One secret, or two during a rotation. */
export const tokenSecrets = list.transform((values, ctx) =>
  values.length <= 2 && values.every((value) => value.length >= TOKEN_SECRET_MIN_CHARS)
    ? values
    : problem(
        ctx,
        `must be one secret of at least ${TOKEN_SECRET_MIN_CHARS} characters, or two separated by a comma`,
      ),
);

/** One secret, or several during a rotation. */
export const webhookSecrets = list.transform((values, ctx) =>
  values.every((value) => isWebhookSecret(value))
    ? values
    : problem(
        ctx,
        `must be whsec_ and the base64 of ${WEBHOOK_SECRET_MIN_BYTES} to ${WEBHOOK_SECRET_MAX_BYTES} bytes, or several of these separated by commas`,
      ),
);

function isWebhookSecret(value: string): boolean {
  const base64 = WEBHOOK_SECRET.exec(value)?.[1];
  if (base64 === undefined || base64.length % 4 !== 0) return false;
  const { length } = atob(base64);
  return length >= WEBHOOK_SECRET_MIN_BYTES && length <= WEBHOOK_SECRET_MAX_BYTES;
}

/** A list of parameters whose defaults are sent as well. */
export const requiredParameters = list.transform((names, ctx) =>
  names.every((name) => SENDABLE_DEFAULTS.includes(name))
    ? new Set(names)
    : problem(ctx, `must be a comma-separated list of ${SENDABLE_DEFAULTS.join(", ")}`),
);

const EXTRA_NAME = /^[A-Za-z][\w.-]{0,63}$/;

/** A list of parameters that are forwarded as they are. */
export const extraParameters = list.transform((names, ctx) => {
  const known = names.find((name) => isParameter(name));
  if (known !== undefined) return problem(ctx, "must not name a parameter of the Images API");
  // A name that every object has, such as `constructor`, would be in every body.
  const isName = (name: string) => EXTRA_NAME.test(name) && !(name in Object.prototype);
  return names.length <= MAX_EXTRA_PARAMETERS && names.every(isName)
    ? [...new Set(names)]
    : problem(
        ctx,
        `must be a comma-separated list of at most ${MAX_EXTRA_PARAMETERS} parameter names, such as seed,steps`,
      );
});

/** Returns the schema of a URL to append paths to, without a slash at its end. */
export const baseUrl = (preset: string) =>
  textOr(preset).transform((value, ctx) => {
    const trimmed = value.replace(/\/+$/, "");
    const url = URL.parse(trimmed);
    return url === null || url.search !== "" || url.hash !== "" || url.username !== ""
      ? problem(ctx, `must be a URL such as ${preset}`)
      : trimmed;
  });

/** Prices by model, as JSON. */
export const prices = text.transform((value, ctx): Prices => {
  if (value === undefined) return new Map();
  const parsed = pricesSchema.safeParse(valueOfJson(value));
  if (parsed.success) return parsed.data;
  return problem(
    ctx,
    'must be JSON such as {"my-model": {"text_in": 5, "image_in": 8, "image_out": 32}} or {"my-model": {"per_image": 0.04}}',
  );
});

/** The prices of the models that write SVG, as JSON. */
export const svgModels = text.transform((value, ctx): SvgModels => {
  if (value === undefined) return new Map();
  const parsed = svgModelsSchema.safeParse(valueOfJson(value));
  if (parsed.success) return parsed.data;
  return problem(
    ctx,
    'must be JSON such as {"my-model": {"text_in": 2, "text_out": 12, "max_tokens": 30000}}',
  );
});
