import { describe, expect, it } from "vitest";
import { configOf, BINDINGS } from "../../../src/config/environment.ts";
import { servedModel } from "../../../src/contract/catalog.ts";
import { KNOWN_MODELS } from "../../../src/contract/models.ts";
import { webhookSecret } from "../../support/webhooks/secret.ts";
import { testConfig, unitEnvironment } from "../../support/unit-config.ts";
import { failureOf } from "../../support/failures.ts";

function problems(vars: Record<string, unknown>): readonly string[] {
  const failure = failureOf(() => testConfig(vars));
  return failure.code === "misconfigured" ? failure.problems : expect.fail(failure.code);
}

describe("configOf with the bindings alone", () => {
  const all = unitEnvironment();
  const bindings = Object.fromEntries(BINDINGS.map((name) => [name, all[name]]));
  const config = configOf(bindings);

  it("returns the documented defaults", () => {
    expect(config).toMatchObject({
      defaultModel: "gpt-image-1.5",
      promptMaxChars: 1000,
      requireDocumentedFields: false,
      maxBodyBytes: 64 * 1024,
      cacheTtlSeconds: 30 * 24 * 60 * 60,
      moderationBlockTtlSeconds: 60 * 60,
      adminKey: undefined,
      tokenSecrets: [],
      access: "public",
      turnstile: undefined,
      budgetPerDay: 5_000_000,
      budgetPerCaller: undefined,
      generationsPerMinute: 20,
      maxBlocksPerCaller: 20,
      maxConcurrentPerCaller: 4,
      allowedOrigins: ["*"],
      webhookSecrets: [],
      webhookSigningSecrets: [],
      webhookHosts: [],
      localDevelopment: false,
      extraParameters: [],
      svgModels: new Map(),
      upstream: {
        baseUrl: "https://api.openai.com/v1",
        apiKey: undefined,
        isOpenAi: true,
        identifiesCallers: true,
        retiredModels: "auto",
        requires: new Set(),
        sendResponseFormat: new Set(),
        timeoutSeconds: 300,
        maxRetries: 2,
      },
    });
  });

  it("serves every known model", () => {
    expect([...config.models.keys()]).toEqual(KNOWN_MODELS.map((model) => model.id));
  });

  it("returns the same Config for the same environment object", () => {
    const env = { ...bindings };
    expect(configOf(env)).toBe(configOf(env));
  });
});

describe("a configuration value", () => {
  it("may be a TOML number or boolean", () => {
    const config = testConfig({ PROMPT_MAX_CHARS: 50, REQUIRE_DOCUMENTED_FIELDS: true });
    expect(config).toMatchObject({ promptMaxChars: 50, requireDocumentedFields: true });
  });

  it("counts as unset if it is empty", () => {
    const config = testConfig({ PROMPT_MAX_CHARS: "", MODELS: "", DEFAULT_MODEL: "" });
    expect(config).toMatchObject({ promptMaxChars: 1000, defaultModel: "gpt-image-1.5" });
    expect(config.models.size).toBe(KNOWN_MODELS.length);
  });

  it("may have spaces and a trailing comma if it is a list", () => {
    const { models } = testConfig({ MODELS: " gpt-image-1.5 , gpt-image-2 ," });
    expect([...models.keys()]).toEqual(["gpt-image-1.5", "gpt-image-2"]);
  });

  it("loses the trailing slash of the base URL", () => {
    const { upstream } = testConfig({ UPSTREAM_BASE_URL: "https://images.example.com/v1/" });
    expect(upstream.baseUrl).toBe("https://images.example.com/v1");
  });
});

describe("DEFAULT_MODEL", () => {
  it.each(KNOWN_MODELS.map(({ id }) => id))(
    "serves the known model %s whatever MODELS lists",
    (id) => {
      for (const MODELS of ["", id, "gpt-image-2", "my-model"]) {
        const config = testConfig({
          UPSTREAM_BASE_URL: "https://api.openai.com/v1",
          DEFAULT_MODEL: id,
          MODELS,
          PRICES: JSON.stringify({ [id]: { per_image: 0.04 } }),
        });
        expect(servedModel(config, id)?.id).toBe(id);
      }
    },
  );

  it("serves the preset default in addition to MODELS", () => {
    const { models, defaultModel } = testConfig({ MODELS: "gpt-image-2" });
    expect(defaultModel).toBe("gpt-image-1.5");
    expect([...models.keys()]).toEqual(["gpt-image-2", "gpt-image-1.5"]);
  });
});

describe("MODEL_ALIASES", () => {
  it("serves an alias under its own name with the rules of its target", () => {
    const config = testConfig({ MODEL_ALIASES: "fast=gpt-image-2.6-flare" });
    expect(servedModel(config, "fast")).toMatchObject({
      id: "fast",
      upstreamId: "gpt-image-2.6-flare",
      rules: { qualities: ["auto", "low", "medium", "high", "xhigh", "max"] },
    });
  });
});

describe("a model that PRICES and SEND_RESPONSE_FORMAT name", () => {
  it.each([
    ["the name of an alias", "fast", "my-deployment"],
    ["the target of an alias", "my-deployment", "my-deployment"],
    ["a known model that MODELS does not list", "gpt-image-2", "gpt-image-2"],
    ["a dated snapshot of a served model", "my-model-2026-11-01", "my-model-2026-11-01"],
  ])("may be %s", (_, id, upstreamId) => {
    const { prices, upstream } = testConfig({
      MODELS: "my-model",
      MODEL_ALIASES: "fast=my-deployment",
      PRICES: JSON.stringify({ [id]: { per_image: 0.04 } }),
      SEND_RESPONSE_FORMAT: id,
    });
    expect(prices.get(id)).toEqual({ per_image: 0.04 });
    expect(upstream.sendResponseFormat).toEqual(new Set([upstreamId]));
  });
});

describe("an invalid configuration value", () => {
  it.each([
    ["PROMPT_MAX_CHARS", "many", "PROMPT_MAX_CHARS must be a whole number from 1 to 32000"],
    ["PROMPT_MAX_CHARS", "0", "PROMPT_MAX_CHARS must be a whole number from 1 to 32000"],
    ["PROMPT_MAX_CHARS", "1e3", "PROMPT_MAX_CHARS must be a whole number from 1 to 32000"],
    ["CACHE_TTL_SECONDS", "59", "CACHE_TTL_SECONDS must be a whole number from 60 to 31536000"],
    ["UPSTREAM_TIMEOUT_SECONDS", "-1", "UPSTREAM_TIMEOUT_SECONDS must be a whole number"],
    ["UPSTREAM_MAX_RETRIES", "6", "UPSTREAM_MAX_RETRIES must be a whole number from 0 to 5"],
    ["MAX_BODY_BYTES", "10 MB", "MAX_BODY_BYTES must be a whole number"],
    ["REQUIRE_DOCUMENTED_FIELDS", "yes", 'REQUIRE_DOCUMENTED_FIELDS must be "true" or "false"'],
    ["LOCAL_DEVELOPMENT", "1", 'LOCAL_DEVELOPMENT must be "true" or "false"'],
    ["MODELS", "gpt image", "MODELS must be a comma-separated list of model ids"],
    ["MODEL_ALIASES", "a=b=c", "MODEL_ALIASES must be a comma-separated list of pairs"],
    ["MODEL_ALIASES", "a", "MODEL_ALIASES must be a comma-separated list of pairs"],
    ["MODEL_ALIASES", "a=", "MODEL_ALIASES must be a comma-separated list of pairs"],
    ["DEFAULT_MODEL", "unheard-of", "DEFAULT_MODEL must be one of MODELS"],
    ["ALLOWED_ORIGINS", "example.com", 'ALLOWED_ORIGINS must be "*" or a comma-separated list'],
    ["ALLOWED_ORIGINS", "https://example.com/", "ALLOWED_ORIGINS must be"],
    ["RETIRED_MODELS", "yes", 'RETIRED_MODELS must be "auto", "replace" or "keep"'],
    ["CACHE", undefined, "CACHE must be bound to a KV namespace"],
    ["CACHE", "cache", "CACHE must be bound to a KV namespace"],
    ["GENERATION", undefined, "GENERATION must be bound to a Durable Object class"],
    ["IDEMPOTENCY", {}, "IDEMPOTENCY must be bound to a Durable Object class"],
    ["REFUSAL_TTL_SECONDS", "5", "REFUSAL_TTL_SECONDS must be a whole number from 60"],
    ["UPSTREAM_BASE_URL", "api.example.com", "UPSTREAM_BASE_URL must be a URL"],
    ["UPSTREAM_BASE_URL", "https://a.example/v1?x=1", "UPSTREAM_BASE_URL must be a URL"],
    ["UPSTREAM_BASE_URL", "https://me@a.example/v1", "UPSTREAM_BASE_URL must be a URL"],
    ["UPSTREAM_BASE_URL", "ftp://a.example/v1", "UPSTREAM_BASE_URL must start with https://"],
    ["UPSTREAM_API_KEY", "two words", "UPSTREAM_API_KEY must have no spaces"],
    ["UPSTREAM_API_KEY", "key\n", "UPSTREAM_API_KEY must have no spaces"],
    ["ADMIN_KEY", "a".repeat(19), "ADMIN_KEY must have at least 20 characters"],
    ["TOKEN_SECRET", "too short", "TOKEN_SECRET must be one secret of at least 32 characters"],
    [
      "TOKEN_SECRET",
      `${"a".repeat(32)},short`,
      "TOKEN_SECRET must be one secret of at least 32 characters",
    ],
    ["ACCESS", "everyone", 'ACCESS must be "public" or "token"'],
    ["ACCESS", "token", "TOKEN_SECRET must be set if ACCESS is token"],
    ["BUDGET", undefined, "BUDGET must be bound to a Durable Object class"],
    ["BUDGET_USD_PER_DAY", "$5", "BUDGET_USD_PER_DAY must be an amount in dollars"],
    ["BUDGET_USD_PER_DAY", "-5", "BUDGET_USD_PER_DAY must be an amount in dollars"],
    ["BUDGET_USD_PER_DAY_PER_CALLER", "1e3", "BUDGET_USD_PER_DAY_PER_CALLER must be an amount"],
    ["GENERATIONS_PER_MINUTE", "0", "GENERATIONS_PER_MINUTE must be a whole number from 1"],
    ["MAX_BLOCKS_PER_CALLER_PER_DAY", "-1", "MAX_BLOCKS_PER_CALLER_PER_DAY must be a whole number"],
    ["MAX_CONCURRENT_PER_CALLER", "0", "MAX_CONCURRENT_PER_CALLER must be a whole number from 1"],
    ["PRICES", "cheap", "PRICES must be JSON such as"],
    ["PRICES", '{"m":{"per_image":-1}}', "PRICES must be JSON such as"],
    ["PRICES", '{"m":{"per_image":1}}', "PRICES must name only models in MODELS or MODEL_ALIASES"],
    ["SEND_RESPONSE_FORMAT", "m", "SEND_RESPONSE_FORMAT must name only models in MODELS"],
    ["SVG_MODELS", "cheap", "SVG_MODELS must be JSON such as"],
    ["SAFETY_IDENTIFIERS", "maybe", 'SAFETY_IDENTIFIERS must be "auto", "on" or "off"'],
    ["EXTRA_PARAMETERS", "prompt", "EXTRA_PARAMETERS must not name a parameter of the Images API"],
    ["EXTRA_PARAMETERS", "toString", "EXTRA_PARAMETERS must be a comma-separated list of at most"],
    ["EXTRA_PARAMETERS", "1st", "EXTRA_PARAMETERS must be a comma-separated list of at most 32"],
    [
      "UPSTREAM_REQUIRES",
      "foo",
      "UPSTREAM_REQUIRES must be a comma-separated list of model, prompt",
    ],
    ["RATE_LIMIT_REQUESTS", undefined, "RATE_LIMIT_REQUESTS must be bound to a rate limit"],
    ["REVOCATIONS", {}, "REVOCATIONS must be bound to a Durable Object class"],
    ["JOBS", undefined, "JOBS must be bound to a Durable Object class"],
    ["IMAGE_JOB", undefined, "IMAGE_JOB must be bound to a Workflow"],
    ["IMAGE_JOB", {}, "IMAGE_JOB must be bound to a Workflow"],
    ["WEBHOOK_SECRET", "whsec_c2hvcnQ=", "WEBHOOK_SECRET must be whsec_ and the base64"],
    ["WEBHOOK_SECRET", webhookSecret("a").slice(6), "WEBHOOK_SECRET must be whsec_ and the base64"],
    ["WEBHOOK_SECRET", `whsec_${"!".repeat(32)}`, "WEBHOOK_SECRET must be whsec_ and the base64"],
    ["WEBHOOK_SECRET", `whsec_${"A".repeat(88)}`, "WEBHOOK_SECRET must be whsec_ and the base64"],
    ["WEBHOOK_SIGNING_SECRET", "whsec_", "WEBHOOK_SIGNING_SECRET must be whsec_ and the base64"],
    ["WEBHOOK_HOSTS", "https://hooks.example.com", 'WEBHOOK_HOSTS must be "*"'],
    ["WEBHOOK_HOSTS", "hooks.example.com/path", 'WEBHOOK_HOSTS must be "*"'],
    ["TURNSTILE_SECRET", "0x4AAA", "TOKEN_SECRET must be set if TURNSTILE_SECRET is set"],
    ["MODELS", { a: 1 }, "MODELS must be a string, a number or a boolean"],
  ])("is reported by name and reason, without the value: %s = %j", (name, value, reason) => {
    const [problem] = problems({ [name]: value });
    expect(problem).toContain(reason);
    expect(problem).not.toContain(JSON.stringify(value ?? null));
  });

  it("is reported together with every other invalid value", () => {
    expect(problems({ PROMPT_MAX_CHARS: "x", MAX_BODY_BYTES: "y" })).toHaveLength(2);
  });

  it("is an upstream URL with http:// outside local development", () => {
    const UPSTREAM_BASE_URL = "http://127.0.0.1:9/v1";
    expect(testConfig({ UPSTREAM_BASE_URL }).upstream.baseUrl).toBe(UPSTREAM_BASE_URL);
    expect(problems({ UPSTREAM_BASE_URL, LOCAL_DEVELOPMENT: "false" })).toEqual([
      "UPSTREAM_BASE_URL must start with https://",
    ]);
  });

  it.each(["1x0000000000000000000000000000000AA", "2x0000000000000000000000000000000AA"])(
    "is the Turnstile test secret %s outside local development",
    (TURNSTILE_SECRET) => {
      const vars = { TURNSTILE_SECRET, TOKEN_SECRET: "a".repeat(32) };
      expect(testConfig(vars).turnstile?.secret).toBe(TURNSTILE_SECRET);
      expect(problems({ ...vars, LOCAL_DEVELOPMENT: "false", UPSTREAM_BASE_URL: "" })).toEqual([
        "TURNSTILE_SECRET must not be one of Turnstile's test secrets",
      ]);
    },
  );
});

describe("BUDGET_USD_PER_DAY", () => {
  it.each([
    ["5", 5_000_000],
    ["0.5", 500_000],
    [0.000001, 1],
    ["0", 0],
  ])(
    "converts %s dollars to %i micro-dollars, and so does the budget per caller",
    (dollars, microDollars) => {
      const vars = { BUDGET_USD_PER_DAY: dollars, BUDGET_USD_PER_DAY_PER_CALLER: dollars };
      const { budgetPerDay, budgetPerCaller } = testConfig(vars);
      expect(budgetPerDay).toBe(microDollars);
      expect(budgetPerCaller).toBe(microDollars);
    },
  );
});

describe("TOKEN_SECRET", () => {
  it("splits two secrets at the comma", () => {
    const [first, second] = ["a".repeat(32), "b".repeat(32)];
    expect(testConfig({ TOKEN_SECRET: `${first}, ${second}` }).tokenSecrets).toEqual([
      first,
      second,
    ]);
  });
});
