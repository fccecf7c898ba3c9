import { z } from "zod";
import { RETIRED_MODELS } from "../contract/retirement.ts";
import { MICRO_PER_DOLLAR, pricesSchema, type Prices } from "../contract/pricing.ts";

/** KV's shortest life of an entry, and about the longest that a number of seconds is good for. */
const TTL_MIN_SECONDS = 60;
const TTL_MAX_SECONDS = 365 * 24 * 60 * 60;

/** As many as HMAC-SHA256 has bytes (RFC 2104, 3: shorter keys weaken it). */
const TOKEN_SECRET_MIN_CHARS = 32;

/** Standard Webhooks, "Signature scheme": base64 of so many random bytes, after a prefix. */
const WEBHOOK_SECRET = /^whsec_(?=[A-Za-z0-9+/]+=*$)(.{32,88})$/;
const WEBHOOK_SECRET_MIN_BYTES = 24;
const WEBHOOK_SECRET_MAX_BYTES = 64;

/** A binding, known by one of its methods. */
const bound = <Binding>(method: string, what: string) =>
  z.custom<Binding>(
    (value) => typeof value === "object" && value !== null && method in value,
    `must be bound to ${what}`,
  );

const objects = bound<DurableObjectNamespace>("idFromName", "a Durable Object class");
const rateLimit = bound<RateLimit>("limit", "a rate limit");

/** A var as wrangler hands it over: TOML numbers and booleans are not strings yet. An empty one is unset. */
const text = z
  .union([z.string(), z.number(), z.boolean()], "must be text")
  .transform((value) => (value === "" ? undefined : String(value)))
  .optional();

const integer = (min: number, max: number, preset: number) =>
  text.transform((value, ctx) => {
    if (value === undefined) return preset;
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (number >= min && number <= max) return number;
    return problem(ctx, `must be a whole number from ${min} to ${max}`);
  });

/** Dollars with at most six decimals, as micro-dollars. */
const dollars = text.transform((value, ctx) => {
  if (value === undefined) return undefined;
  if (/^\d{1,6}(?:\.\d{1,6})?$/.test(value)) return Math.round(Number(value) * MICRO_PER_DOLLAR);
  return problem(ctx, "must be an amount in dollars, such as 5 or 0.50");
});

const flag = text.transform((value, ctx) => {
  if (value === undefined || value === "false") return false;
  return value === "true" ? true : problem(ctx, 'must be "true" or "false"');
});

const list = text.transform((value) =>
  (value ?? "")
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== ""),
);

const MODEL_ID = /^[\w.:/@-]{1,128}$/;

const modelIds = list.transform((ids, ctx) =>
  ids.every((id) => MODEL_ID.test(id))
    ? ids
    : problem(ctx, "must be a comma-separated list of model ids"),
);

const aliases = list.transform((pairs, ctx) => {
  const entries = pairs.map((pair) => pair.split("=").map((id) => id.trim()));
  return entries.every((ids): ids is [string, string] => isPair(ids))
    ? new Map(entries)
    : problem(ctx, "must look like from=to,from=to, with a model id on either side");
});

function isPair(ids: readonly string[]): boolean {
  return ids.length === 2 && ids.every((id) => MODEL_ID.test(id));
}

const origins = list.transform((values, ctx) =>
  values.every((value) => value === "*" || URL.parse(value)?.origin === value)
    ? values
    : problem(ctx, 'must be "*" or a comma-separated list of origins, such as https://example.com'),
);

/** One secret, or two while one replaces the other. */
const secrets = list.transform((values, ctx) =>
  values.length <= 2 && values.every((value) => value.length >= TOKEN_SECRET_MIN_CHARS)
    ? values
    : problem(
        ctx,
        `must have at least ${TOKEN_SECRET_MIN_CHARS} characters; two of them are separated by a comma`,
      ),
);

/** One secret, or several while they replace each other. */
const webhookSecrets = list.transform((values, ctx) =>
  values.every((value) => isWebhookSecret(value))
    ? values
    : problem(
        ctx,
        `must be whsec_ and base64 of ${WEBHOOK_SECRET_MIN_BYTES} to ${WEBHOOK_SECRET_MAX_BYTES} bytes; several are separated by commas`,
      ),
);

function isWebhookSecret(value: string): boolean {
  const base64 = WEBHOOK_SECRET.exec(value)?.[1];
  if (base64 === undefined || base64.length % 4 !== 0) return false;
  const { length } = atob(base64);
  return length >= WEBHOOK_SECRET_MIN_BYTES && length <= WEBHOOK_SECRET_MAX_BYTES;
}

const hosts = list.transform((values, ctx) =>
  values.every((value) => value === "*" || URL.parse(`https://${value}/`)?.hostname === value)
    ? values
    : problem(ctx, 'must be "*" or a comma-separated list of hosts, such as hooks.example.com'),
);

const prices = text.transform((value, ctx): Prices => {
  if (value === undefined) return new Map();
  const parsedPrices = pricesSchema.safeParse(jsonOf(value));
  if (parsedPrices.success) return parsedPrices.data;
  return problem(
    ctx,
    'must be JSON such as {"my-model": {"text_in": 5, "image_in": 8, "image_out": 32}} or {"my-model": {"per_image": 0.04}}',
  );
});

function jsonOf(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** Vars, secrets and bindings by name, with what they become and what they are when unset. */
export const environment = z.object({
  ACCESS: text.pipe(
    z.enum(["public", "token"], 'must be "public" or "token"').optional().default("public"),
  ),
  ADMIN_KEY: text,
  ALLOWED_ORIGINS: origins,
  ANALYTICS: bound<AnalyticsEngineDataset>(
    "writeDataPoint",
    "an Analytics Engine dataset",
  ).optional(),
  ASSETS: bound<Fetcher>("fetch", "the page's files").optional(),
  BUDGET: objects,
  BUDGET_USD_PER_DAY: dollars,
  BUDGET_USD_PER_DAY_PER_CALLER: dollars,
  CACHE: bound<KVNamespace>("getWithMetadata", "a KV namespace"),
  CACHE_TTL_SECONDS: integer(TTL_MIN_SECONDS, TTL_MAX_SECONDS, 30 * 24 * 60 * 60),
  DEFAULT_MODEL: text,
  GENERATION: objects,
  IDEMPOTENCY: objects,
  IMAGE_JOB: bound<Workflow>("createBatch", "a Workflow"),
  JOBS: objects,
  LOCAL_DEVELOPMENT: flag,
  MAX_BODY_BYTES: integer(1024, 1024 * 1024, 64 * 1024),
  MAX_CONCURRENT_PER_CALLER: integer(1, 1_000_000, 4),
  MODELS: modelIds,
  MODEL_ALIASES: aliases,
  PRICES: prices,
  PROMPT_MAX_CHARS: integer(1, 32_000, 1000),
  RATE_LIMIT_GENERATIONS: rateLimit,
  RATE_LIMIT_REQUESTS: rateLimit,
  REFUSAL_TTL_SECONDS: integer(TTL_MIN_SECONDS, TTL_MAX_SECONDS, 60 * 60),
  REQUIRE_DOCUMENTED_FIELDS: flag,
  RETIRED_MODELS: text.pipe(
    z.enum(RETIRED_MODELS, 'must be "auto", "replace" or "keep"').optional().default("auto"),
  ),
  REVOCATIONS: objects,
  TOKEN_SECRET: secrets,
  TURNSTILE_SECRET: text,
  TURNSTILE_SITE_KEY: text,
  TURNSTILE_VERIFY_URL: text,
  UPSTREAM_API_KEY: text,
  UPSTREAM_BASE_URL: text,
  UPSTREAM_MAX_RETRIES: integer(0, 5, 2),
  UPSTREAM_TIMEOUT_SECONDS: integer(1, 600, 300),
  WEBHOOK_HOSTS: hosts,
  WEBHOOK_SECRET: webhookSecrets,
  WEBHOOK_SIGNING_SECRET: webhookSecrets,
});

/** All of the names above. */
export const VARIABLES: readonly string[] = Object.keys(environment.shape);

/** Which of the names above hold a secret, and which a binding; the rest are vars. */
export const SECRETS = [
  "UPSTREAM_API_KEY",
  "ADMIN_KEY",
  "TOKEN_SECRET",
  "TURNSTILE_SECRET",
  "WEBHOOK_SECRET",
  "WEBHOOK_SIGNING_SECRET",
] as const;
export const BINDINGS = [
  "CACHE",
  "GENERATION",
  "IDEMPOTENCY",
  "BUDGET",
  "REVOCATIONS",
  "JOBS",
  "IMAGE_JOB",
  "RATE_LIMIT_REQUESTS",
  "RATE_LIMIT_GENERATIONS",
] as const;

function problem(ctx: z.RefinementCtx, message: string): never {
  ctx.addIssue({ code: "custom", message });
  return z.NEVER;
}
