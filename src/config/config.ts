import type { z } from "zod";
import {
  KNOWN_MODELS,
  NEWEST_RULES,
  baseModelId,
  knownModel,
  type ModelRules,
} from "../contract/models.ts";
import { MICRO_PER_DOLLAR, type MicroDollars, type Prices } from "../contract/pricing.ts";
import { isOpenAiUrl, type RetirementPolicy } from "../contract/retirement.ts";
import { environment } from "./environment.ts";
import { GatewayError } from "../errors/failure.ts";
import { isPublicUrl } from "../lib/public-url.ts";

/** What the gateway runs with: every var, secret and binding, parsed once. */
export interface Config {
  /** Models by the id that clients ask for, in the order in which they are listed. */
  models: ReadonlyMap<string, ServedModel>;
  defaultModel: string;
  promptMaxChars: number;
  /** Whether the reference document's list of required fields is enforced. */
  requireDocumentedFields: boolean;
  maxBodyBytes: number;
  cache: KVNamespace;
  /** Where events are counted; `undefined` where none is bound. */
  analytics: AnalyticsEngineDataset | undefined;
  /** The page's files; `undefined` where there is no page. */
  assets: Fetcher | undefined;
  cacheTtlSeconds: number;
  refusalTtlSeconds: number;
  /** Objects of the class `Generation`. */
  generations: DurableObjectNamespace;
  /** Objects of the class `IdempotencyKey`. */
  idempotencyKeys: DurableObjectNamespace;
  /** Objects of the class `Budget`. */
  budgets: DurableObjectNamespace;
  /** Objects of the class `Revocations`. */
  revocations: DurableObjectNamespace;
  /** Objects of the class `Jobs`. */
  jobs: DurableObjectNamespace;
  /** The Workflow of the class `ImageJob`. */
  imageJobs: Workflow;
  rateLimits: Record<"requests" | "generations", RateLimit>;
  /** Who may have pictures made: anyone within the limits, or who has a token. */
  access: "public" | "token";
  /** `undefined` where the secret is not set: then nobody is the admin. */
  adminKey: string | undefined;
  /**
   * The first signs tokens and addresses, all verify them: a new one is put in front, and the old
   * one dropped when what it signed is over. None where the secret is not set.
   */
  tokenSecrets: readonly string[];
  /** `undefined` where the secret is not set: then the admin alone makes tokens. */
  turnstile: TurnstileConfig | undefined;
  /** Any of them may have signed a webhook that comes in. None where the secret is not set. */
  webhookSecrets: readonly string[];
  /** All of them sign a webhook that goes out. None where the secret is not set. */
  webhookSigningSecrets: readonly string[];
  /** The hosts that may be called back, or `*`. */
  webhookHosts: readonly string[];
  /** What everybody together may spend on a UTC day. */
  budgetPerDay: MicroDollars;
  /** What one caller may spend of it. */
  budgetPerCaller: MicroDollars;
  /** How many generations one caller may have going on at once. */
  maxConcurrentPerCaller: number;
  /** On top of the table of prices. */
  prices: Prices;
  upstream: UpstreamConfig;
  /** Values of ALLOWED_ORIGINS, or `*`. */
  allowedOrigins: readonly string[];
  /** Allows http and loopback where URLs are checked. */
  localDevelopment: boolean;
}

export interface TurnstileConfig {
  secret: string;
  /** Public: the page's widget is made with it. */
  siteKey: string | undefined;
  /** Where tokens are verified. */
  verifyUrl: string;
}

export interface UpstreamConfig extends RetirementPolicy {
  /** Without a slash at its end. */
  baseUrl: string;
  /** `undefined` where the secret is not set: what is cached is served all the same. */
  apiKey: string | undefined;
  timeoutSeconds: number;
  maxRetries: number;
}

/** A model as it is served: its rules, and the name that the upstream knows it by. */
export interface ServedModel {
  id: string;
  upstreamId: string;
  /** True if `MODEL_ALIASES` says what the upstream is sent: then nothing else replaces it. */
  isAlias: boolean;
  rules: ModelRules;
}

/** Said by an answer and at the start of local development alike. */
export const MISSING_KEY =
  "UPSTREAM_API_KEY is not set (npx wrangler secret put UPSTREAM_API_KEY, or a line in .dev.vars)";

const DEFAULT_BASE_URL = "https://api.openai.com/v1";
const DEFAULT_MODEL = "gpt-image-1.5";
const DEFAULT_BUDGET = 5 * MICRO_PER_DOLLAR;
const SITEVERIFY_URL = "https://challenges.cloudflare.com/turnstile/v0/siteverify";

/** Environments do not change while an isolate lives, so each is parsed once. */
const parsed = new WeakMap<object, Config>();

/**
 * The configuration in an environment; fails closed.
 *
 * @throws {GatewayError} `misconfigured`, naming every variable that is wrong and why, and no value
 */
export function configOf(env: object): Config {
  const known = parsed.get(env);
  if (known !== undefined) return known;
  const config = parseConfig(env);
  parsed.set(env, config);
  return config;
}

function parseConfig(env: object): Config {
  const result = environment.safeParse(env);
  if (!result.success) {
    throw misconfigured(
      ...result.error.issues.map((issue) => `${String(issue.path[0])} ${issue.message}`),
    );
  }
  const vars = result.data;

  const localDevelopment = vars.LOCAL_DEVELOPMENT;
  const baseUrl = (vars.UPSTREAM_BASE_URL ?? DEFAULT_BASE_URL).replace(/\/+$/, "");
  const url = URL.parse(baseUrl);
  if (url === null || url.search !== "" || url.hash !== "" || url.username !== "") {
    throw misconfigured("UPSTREAM_BASE_URL must be a URL such as https://api.openai.com/v1");
  }
  // The key travels in a header: never in the clear, unless it goes no further than this machine.
  if (url.protocol !== "https:" && !(localDevelopment && isPublicUrl(url, true))) {
    throw misconfigured("UPSTREAM_BASE_URL must begin with https://");
  }
  const apiKey = vars.UPSTREAM_API_KEY;
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey)) {
    throw misconfigured(
      "UPSTREAM_API_KEY holds a space, a line break or another character that no key has",
    );
  }

  const tokenSecrets = vars.TOKEN_SECRET;
  if (vars.ACCESS === "token" && tokenSecrets.length === 0) {
    throw misconfigured("TOKEN_SECRET must be set where ACCESS wants tokens");
  }
  const budgetPerDay = vars.BUDGET_USD_PER_DAY ?? DEFAULT_BUDGET;

  const defaultModel = vars.DEFAULT_MODEL ?? DEFAULT_MODEL;
  const models = servedModels(vars.MODELS, vars.MODEL_ALIASES, defaultModel);
  if (!models.has(defaultModel)) {
    throw misconfigured("DEFAULT_MODEL must be one of MODELS");
  }

  return {
    models,
    defaultModel,
    promptMaxChars: vars.PROMPT_MAX_CHARS,
    requireDocumentedFields: vars.REQUIRE_DOCUMENTED_FIELDS,
    maxBodyBytes: vars.MAX_BODY_BYTES,
    cache: vars.CACHE,
    analytics: vars.ANALYTICS,
    assets: vars.ASSETS,
    cacheTtlSeconds: vars.CACHE_TTL_SECONDS,
    refusalTtlSeconds: vars.REFUSAL_TTL_SECONDS,
    generations: vars.GENERATION,
    idempotencyKeys: vars.IDEMPOTENCY,
    adminKey: vars.ADMIN_KEY,
    budgets: vars.BUDGET,
    revocations: vars.REVOCATIONS,
    jobs: vars.JOBS,
    imageJobs: vars.IMAGE_JOB,
    rateLimits: {
      requests: vars.RATE_LIMIT_REQUESTS,
      generations: vars.RATE_LIMIT_GENERATIONS,
    },
    access: vars.ACCESS,
    tokenSecrets,
    turnstile: turnstileOf(vars),
    webhookSecrets: vars.WEBHOOK_SECRET,
    webhookSigningSecrets: vars.WEBHOOK_SIGNING_SECRET,
    webhookHosts: vars.WEBHOOK_HOSTS,
    budgetPerDay,
    budgetPerCaller: vars.BUDGET_USD_PER_DAY_PER_CALLER ?? budgetPerDay,
    maxConcurrentPerCaller: vars.MAX_CONCURRENT_PER_CALLER,
    prices: vars.PRICES,
    upstream: {
      baseUrl,
      apiKey,
      isOpenAi: isOpenAiUrl(url),
      retiredModels: vars.RETIRED_MODELS,
      timeoutSeconds: vars.UPSTREAM_TIMEOUT_SECONDS,
      maxRetries: vars.UPSTREAM_MAX_RETRIES,
    },
    allowedOrigins: vars.ALLOWED_ORIGINS.length === 0 ? ["*"] : vars.ALLOWED_ORIGINS,
    localDevelopment,
  };
}

/** Turnstile's published secrets for tests, which accept anybody or nobody. */
const TURNSTILE_TEST_SECRET = /^[123]x0{8,}/;

function turnstileOf(vars: z.infer<typeof environment>): TurnstileConfig | undefined {
  const { TURNSTILE_SECRET: secret, TURNSTILE_SITE_KEY: siteKey } = vars;
  if (secret === undefined) return undefined;
  if (vars.TOKEN_SECRET.length === 0) {
    throw misconfigured("TOKEN_SECRET must be set where TURNSTILE_SECRET is");
  }
  const isLocal = vars.LOCAL_DEVELOPMENT;
  if (TURNSTILE_TEST_SECRET.test(secret) && !isLocal) {
    throw misconfigured("TURNSTILE_SECRET is one of Turnstile's secrets for tests");
  }
  const verifyUrl = vars.TURNSTILE_VERIFY_URL ?? SITEVERIFY_URL;
  const url = URL.parse(verifyUrl);
  if (url === null || !isPublicUrl(url, isLocal)) {
    throw misconfigured("TURNSTILE_VERIFY_URL must be a public https URL");
  }
  return { secret, siteKey, verifyUrl };
}

/**
 * The models by the id that clients use. An alias is served too: a name that nobody may ask for
 * would be no alias. Its rules are those of the model behind it, where the table knows that one.
 *
 * A default that the table knows is served too, even if `MODELS` does not list it: an upgrade that
 * changes the default must not stop a gateway.
 */
function servedModels(
  ids: readonly string[],
  aliasesByFrom: ReadonlyMap<string, string>,
  defaultModel: string,
): ReadonlyMap<string, ServedModel> {
  const listed = ids.length > 0 ? ids : KNOWN_MODELS.map((model) => model.id);
  const served = (id: string): ServedModel => {
    const alias = aliasesByFrom.get(id);
    const upstreamId = alias ?? id;
    const rules = (knownModel(upstreamId) ?? knownModel(id))?.rules ?? NEWEST_RULES;
    return { id, upstreamId, isAlias: alias !== undefined, rules };
  };
  const names = new Set([...listed, ...aliasesByFrom.keys()]);
  const models = new Map([...names].map((id) => [id, served(id)]));
  if (knownModel(defaultModel) !== undefined) {
    models.set(defaultModel, modelNamed(defaultModel, models) ?? served(defaultModel));
  }
  return models;
}

/** The model that an id names: one of the list, or a dated snapshot of one. */
export function servedModel({ models }: Config, id: string): ServedModel | undefined {
  return modelNamed(id, models);
}

function modelNamed(id: string, models: Config["models"]): ServedModel | undefined {
  const listed = models.get(id);
  if (listed !== undefined) return listed;
  const base = models.get(baseModelId(id));
  if (base === undefined) return undefined;
  const aliased = base.upstreamId !== base.id;
  return { ...base, id, upstreamId: aliased ? base.upstreamId : id };
}

function misconfigured(...problems: string[]): GatewayError {
  return new GatewayError({ code: "misconfigured", problems });
}
