import * as z from "zod";
import { isServed, servedModels, upstreamIds } from "../contract/catalog.ts";
import { MICRO_PER_DOLLAR } from "../contract/pricing.ts";
import { isOpenAiUrl, RETIRED_MODELS } from "../contract/retirement.ts";
import { GatewayError } from "../errors/failure.ts";
import { isPublicUrl } from "../lib/public-url.ts";
import { DAY_SECONDS, YEAR_SECONDS } from "../lib/clock.ts";
import {
  adminKey,
  aliases,
  apiKey,
  baseUrl,
  binding,
  dollars,
  extraParameters,
  flag,
  hosts,
  integer,
  modelIds,
  origins,
  prices,
  problem,
  requiredParameters,
  svgModels,
  text,
  textOr,
  tokenSecrets,
  webhookSecrets,
} from "./values.ts";

/** The shortest TTL of an entry in KV. */
const TTL_MIN_SECONDS = 60;
const TTL_MAX_SECONDS = YEAR_SECONDS;

/** Turnstile's published test secrets, which accept or reject every token. */
const TURNSTILE_TEST_SECRET = /^[123]x0{8,}/;

/** The problem that error responses and `npm start` report if the upstream's key is missing. */
export const MISSING_KEY =
  "UPSTREAM_API_KEY is not set (npx wrangler secret put UPSTREAM_API_KEY, or a line in .dev.vars)";

type Env = Cloudflare.Env;

const secrets = {
  UPSTREAM_API_KEY: apiKey,
  ADMIN_KEY: adminKey,
  TOKEN_SECRET: tokenSecrets,
  TURNSTILE_SECRET: text,
  WEBHOOK_SECRET: webhookSecrets,
  WEBHOOK_SIGNING_SECRET: webhookSecrets,
};

const DURABLE_OBJECT = ["idFromName", "a Durable Object class"] as const;

const requiredBindings = {
  CACHE: binding<Env["CACHE"]>("getWithMetadata", "a KV namespace"),
  GENERATION: binding<Env["GENERATION"]>(...DURABLE_OBJECT),
  IDEMPOTENCY: binding<Env["IDEMPOTENCY"]>(...DURABLE_OBJECT),
  BUDGET: binding<Env["BUDGET"]>(...DURABLE_OBJECT),
  REVOCATIONS: binding<Env["REVOCATIONS"]>(...DURABLE_OBJECT),
  JOBS: binding<Env["JOBS"]>(...DURABLE_OBJECT),
  IMAGE_JOB: binding<Env["IMAGE_JOB"]>("createBatch", "a Workflow"),
  RATE_LIMIT_REQUESTS: binding<Env["RATE_LIMIT_REQUESTS"]>("limit", "a rate limit"),
};

/** Every variable, secret and binding, with its form and its default. */
const environment = z.object({
  ...secrets,
  ...requiredBindings,
  ANALYTICS: binding<AnalyticsEngineDataset>(
    "writeDataPoint",
    "an Analytics Engine dataset",
  ).optional(),
  ASSETS: binding<Fetcher>("fetch", "the page's files").optional(),
  ACCESS: text.pipe(
    z.enum(["public", "token"], 'must be "public" or "token"').optional().default("public"),
  ),
  ALLOWED_ORIGINS: origins,
  BUDGET_USD_PER_DAY: dollars.transform((budget) => budget ?? 5 * MICRO_PER_DOLLAR),
  BUDGET_USD_PER_DAY_PER_CALLER: dollars,
  CACHE_TTL_SECONDS: integer(TTL_MIN_SECONDS, TTL_MAX_SECONDS, 30 * DAY_SECONDS),
  DEFAULT_MODEL: textOr("gpt-image-1.5"),
  EXTRA_PARAMETERS: extraParameters,
  GENERATIONS_PER_MINUTE: integer(1, 1_000_000, 20),
  LOCAL_DEVELOPMENT: flag,
  MAX_BLOCKS_PER_CALLER_PER_DAY: integer(1, 1_000_000, 20),
  MAX_BODY_BYTES: integer(1024, 1024 * 1024, 64 * 1024),
  MAX_CONCURRENT_PER_CALLER: integer(1, 1_000_000, 4),
  MAX_OPEN_JOBS_PER_CALLER: integer(1, 1_000_000, 100),
  MODELS: modelIds,
  MODEL_ALIASES: aliases,
  PRICES: prices,
  PROMPT_MAX_CHARS: integer(1, 32_000, 1000),
  REFUSAL_TTL_SECONDS: integer(TTL_MIN_SECONDS, TTL_MAX_SECONDS, 60 * 60),
  REQUIRE_DOCUMENTED_FIELDS: flag,
  RETIRED_MODELS: text.pipe(
    z.enum(RETIRED_MODELS, 'must be "auto", "replace" or "keep"').optional().default("auto"),
  ),
  SAFETY_IDENTIFIERS: text.pipe(
    z.enum(["auto", "on", "off"], 'must be "auto", "on" or "off"').optional().default("auto"),
  ),
  SEND_RESPONSE_FORMAT: modelIds.transform((ids): ReadonlySet<string> => new Set(ids)),
  SVG_MODELS: svgModels,
  TURNSTILE_SITE_KEY: text,
  TURNSTILE_VERIFY_URL: textOr("https://challenges.cloudflare.com/turnstile/v0/siteverify"),
  UPSTREAM_BASE_URL: baseUrl("https://api.openai.com/v1"),
  UPSTREAM_MAX_RETRIES: integer(0, 5, 2),
  UPSTREAM_REQUIRES: requiredParameters,
  UPSTREAM_TIMEOUT_SECONDS: integer(1, 600, 300),
  WEBHOOK_HOSTS: hosts,
});

type Environment = z.output<typeof environment>;

/** The names of all variables, secrets and bindings, optional ones included. */
export const VARIABLES: readonly string[] = Object.keys(environment.shape);
export const SECRETS: readonly string[] = Object.keys(secrets);
/** The names of the bindings that every gateway needs. */
export const BINDINGS: readonly string[] = Object.keys(requiredBindings);

const configuration = environment.transform((env, ctx) => {
  const defaultModel = env.DEFAULT_MODEL;
  const models = servedModels({ ids: env.MODELS, aliases: env.MODEL_ALIASES, defaultModel });
  const isOpenAi = isOpenAiUrl(new URL(env.UPSTREAM_BASE_URL));
  reportConflicts(env, ctx);
  if (!models.has(defaultModel)) problem(ctx, "must be one of MODELS", ["DEFAULT_MODEL"]);
  for (const name of ["PRICES", "SEND_RESPONSE_FORMAT"] as const) {
    const unserved = [...env[name].keys()].filter((id) => !isServed({ models }, id));
    if (unserved.length > 0)
      problem(ctx, "must name only models in MODELS or MODEL_ALIASES", [name]);
  }
  return {
    /** The served models by the id that clients use, in the order in which they are listed. */
    models,
    defaultModel,
    promptMaxChars: env.PROMPT_MAX_CHARS,
    /** True if the fields that the reference document requires are required here too. */
    requireDocumentedFields: env.REQUIRE_DOCUMENTED_FIELDS,
    /** The names of the parameters that are forwarded to the upstream as they are. */
    extraParameters: env.EXTRA_PARAMETERS,
    /** The models that may write an SVG, with their prices; empty if SVG is not accepted. */
    svgModels: env.SVG_MODELS,
    maxBodyBytes: env.MAX_BODY_BYTES,
    cache: env.CACHE,
    /** The dataset of the request events; `undefined` if none is bound. */
    analytics: env.ANALYTICS,
    /** The files of the web page; `undefined` if the gateway serves no page. */
    assets: env.ASSETS,
    cacheTtlSeconds: env.CACHE_TTL_SECONDS,
    /** The lifetime of a cached moderation block. */
    moderationBlockTtlSeconds: env.REFUSAL_TTL_SECONDS,
    generations: env.GENERATION,
    idempotencyKeys: env.IDEMPOTENCY,
    budgets: env.BUDGET,
    revocations: env.REVOCATIONS,
    jobs: env.JOBS,
    /** The Workflow that runs each job. */
    imageJobs: env.IMAGE_JOB,
    requestLimit: env.RATE_LIMIT_REQUESTS,
    /** Access control. `token`: a token is required. `public`: anonymous callers are accepted. */
    access: env.ACCESS,
    /** The operator's key; `undefined` disables the endpoints that require it. */
    adminKey: env.ADMIN_KEY,
    /**
     * The secrets of tokens and signed URLs; empty if not set. The first signs, and all verify. To rotate,
     * put the new secret first. Remove the old one when everything that it signed has expired.
     */
    tokenSecrets: env.TOKEN_SECRET,
    /** The Turnstile widget; `undefined` if it is not set up. Then only the operator creates tokens. */
    turnstile:
      env.TURNSTILE_SECRET === undefined
        ? undefined
        : {
            secret: env.TURNSTILE_SECRET,
            /** The public key of the page's widget. */
            siteKey: env.TURNSTILE_SITE_KEY,
            /** The URL that verifies tokens of the widget. */
            verifyUrl: env.TURNSTILE_VERIFY_URL,
          },
    /** The secrets of incoming webhooks, any of which may sign one; empty if not set. */
    webhookSecrets: env.WEBHOOK_SECRET,
    /** The secrets of outgoing webhooks, all of which sign each one; empty if not set. */
    webhookSigningSecrets: env.WEBHOOK_SIGNING_SECRET,
    /** The hosts that webhooks may be delivered to; `*` allows every public host. */
    webhookHosts: env.WEBHOOK_HOSTS,
    /** The budget of all callers together for a UTC day, in micro-dollars. */
    budgetPerDay: env.BUDGET_USD_PER_DAY,
    /** The budget of one caller for a UTC day, in micro-dollars; `undefined` for the default shares. */
    budgetPerCaller: env.BUDGET_USD_PER_DAY_PER_CALLER,
    /** The largest number of generations that one caller may begin within a minute. */
    generationsPerMinute: env.GENERATIONS_PER_MINUTE,
    /** The number of moderation blocks after which a caller is stopped until midnight UTC. */
    maxBlocksPerCaller: env.MAX_BLOCKS_PER_CALLER_PER_DAY,
    /** The largest number of generations that one caller may have in progress. */
    maxConcurrentPerCaller: env.MAX_CONCURRENT_PER_CALLER,
    /** The largest number of jobs of one caller that have not ended. */
    maxOpenJobsPerCaller: env.MAX_OPEN_JOBS_PER_CALLER,
    /** Prices that override or extend the built-in table. */
    prices: env.PRICES,
    upstream: {
      /** The URL of the API, without a slash at its end. */
      baseUrl: env.UPSTREAM_BASE_URL,
      /** The upstream's key; `undefined` if not set. Then only cached images are served. */
      apiKey: env.UPSTREAM_API_KEY,
      isOpenAi,
      retiredModels: env.RETIRED_MODELS,
      /** The parameters whose defaults are sent as well. */
      requires: env.UPSTREAM_REQUIRES,
      /** The upstream's ids of the models to which `response_format` is always sent. */
      sendResponseFormat: upstreamIds({ models }, env.SEND_RESPONSE_FORMAT),
      /** True if the upstream is sent an identifier for a caller that sends none. */
      identifiesCallers:
        env.SAFETY_IDENTIFIERS === "on" || (env.SAFETY_IDENTIFIERS === "auto" && isOpenAi),
      /** The longest time for a generation, with all its retries. */
      timeoutSeconds: env.UPSTREAM_TIMEOUT_SECONDS,
      maxRetries: env.UPSTREAM_MAX_RETRIES,
    },
    /** The origins that CORS allows; `*` allows every origin. */
    allowedOrigins: env.ALLOWED_ORIGINS.length === 0 ? ["*"] : env.ALLOWED_ORIGINS,
    /** True if URLs may use http and loopback hosts. */
    localDevelopment: env.LOCAL_DEVELOPMENT,
  };
});

/** The parsed environment of the gateway. */
export type Config = z.output<typeof configuration>;
export type UpstreamConfig = Config["upstream"];
export type TurnstileConfig = NonNullable<Config["turnstile"]>;

/** Reports variables that contradict each other. */
function reportConflicts(env: Environment, ctx: z.RefinementCtx): void {
  const isLocal = env.LOCAL_DEVELOPMENT;
  const report = (name: keyof Environment, message: string) => problem(ctx, message, [name]);
  // The key is sent in a header, so plain http is allowed to loopback hosts only.
  const url = new URL(env.UPSTREAM_BASE_URL);
  if (url.protocol !== "https:" && !(isLocal && isPublicUrl(url, true))) {
    report("UPSTREAM_BASE_URL", "must start with https://");
  }
  if (env.TOKEN_SECRET.length === 0) {
    if (env.ACCESS === "token") report("TOKEN_SECRET", "must be set if ACCESS is token");
    else if (env.TURNSTILE_SECRET !== undefined) {
      report("TOKEN_SECRET", "must be set if TURNSTILE_SECRET is set");
    }
  }
  if (env.TURNSTILE_SECRET === undefined) return;
  if (TURNSTILE_TEST_SECRET.test(env.TURNSTILE_SECRET) && !isLocal) {
    report("TURNSTILE_SECRET", "must not be one of Turnstile's test secrets");
  }
  const verifyUrl = URL.parse(env.TURNSTILE_VERIFY_URL);
  if (verifyUrl === null || !isPublicUrl(verifyUrl, isLocal)) {
    report("TURNSTILE_VERIFY_URL", "must be a public https URL");
  }
}

/** An environment does not change while an isolate lives, so each is parsed once. */
const parsed = new WeakMap<object, Config>();

/**
 * Returns the configuration in an environment, or fails if any part of it is wrong.
 *
 * @throws {GatewayError} `misconfigured`, naming each variable and its problem, and no value
 */
export function configOf(env: object): Config {
  const known = parsed.get(env);
  if (known !== undefined) return known;
  const result = configuration.safeParse(env);
  if (!result.success) {
    const problems = result.error.issues.map(
      ({ path, message }) => `${String(path[0])} ${message}`,
    );
    throw new GatewayError({ code: "misconfigured", problems });
  }
  parsed.set(env, result.data);
  return result.data;
}
