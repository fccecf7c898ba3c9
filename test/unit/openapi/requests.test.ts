import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { parseBatch } from "../../../src/contract/batch.ts";
import { requestInEvent, splitWebhookUrl } from "../../../src/contract/job.ts";
import { KNOWN_MODELS } from "../../../src/contract/models.ts";
import { parameterOrder } from "../../../src/contract/request-body.ts";
import { parseImageRequest, type RequestRules } from "../../../src/contract/request.ts";
import { GatewayError } from "../../../src/errors/failure.ts";
import { openApiDocument } from "../../../src/openapi/document.ts";
import { testConfig } from "../../support/unit-config.ts";
import { DECEMBER_MS } from "../../support/upstream/shutdowns.ts";
import { SVG_MODELS } from "../../support/vars.ts";

/** Returns a validator of bodies: a schema of a gateway's document. */
function documented(
  gateway: RequestRules,
  { schema = "GenerationBody", nowMs = DECEMBER_MS } = {},
): (body: unknown) => boolean {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema(openApiDocument("https://gateway.example", gateway, nowMs), "document");
  const validate = ajv.compile({ $ref: `document#/components/schemas/${schema}` });
  return (body) => validate(body);
}

/** Rules about two parameters, which the schema does not contain. */
const COMBINATIONS = new Set(["unsupported_combination", "invalid_png_output_compression"]);

type Parser = (body: unknown, gateway: RequestRules, nowMs: number) => unknown;

/**
 * Returns true if the gateway accepts a body, apart from its rules about two parameters.
 *
 * @param parse a parser of bodies
 */
function isAccepted(
  body: unknown,
  gateway: RequestRules,
  { nowMs = DECEMBER_MS, parse = parseImageRequest }: { nowMs?: number; parse?: Parser } = {},
): boolean {
  try {
    parse(splitWebhookUrl(body).body, gateway, nowMs);
    return true;
  } catch (error) {
    if (error instanceof GatewayError) return COMBINATIONS.has(error.failure.code);
    throw error;
  }
}

/** Returns a body with these parameters and a prompt, as the gateway receives it. */
function asSent(parameters: object): unknown {
  return JSON.parse(JSON.stringify({ prompt: "a", ...parameters }));
}

const OPENAI = { UPSTREAM_BASE_URL: "https://api.openai.com/v1" };
const DOCUMENTED_FIELDS = { REQUIRE_DOCUMENTED_FIELDS: "true" };
const OTHER_MODELS = {
  MODELS: "gpt-image-2,acme/flux.1",
  MODEL_ALIASES: "best=gpt-image-2.6-flare",
  DEFAULT_MODEL: "acme/flux.1",
};

/** Rules of a gateway, with parameters that it accepts and parameters that it rejects. */
const RULES: { rule: string; vars?: object; accepted: object[]; rejected: object[] }[] = [
  {
    rule: "a prompt is required, and has a limit in code points",
    accepted: [{ prompt: "🦊".repeat(1000) }],
    rejected: [
      { prompt: undefined },
      { prompt: null },
      { prompt: "" },
      { prompt: "a".repeat(1001) },
    ],
  },
  {
    rule: "null means absent",
    accepted: [{ model: null }, { n: null, size: null }, { user: null }, { webhook_url: null }],
    rejected: [{ model: "dall-e-3", prompt: null }],
  },
  {
    rule: "a default of another family's parameter means absent",
    accepted: [{ style: "vivid" }, { model: "dall-e-3", stream: false, quality: "auto" }],
    rejected: [
      { style: "natural" },
      { model: "dall-e-3", stream: true },
      { model: "dall-e-3", quality: "low" },
    ],
  },
  {
    rule: "an identifier has at most 64 characters",
    accepted: [{ user: "é".repeat(64) }, { safety_identifier: "🦊".repeat(64) }],
    rejected: [{ user: "a".repeat(65) }, { safety_identifier: "a".repeat(65) }],
  },
  {
    rule: "EXTRA_PARAMETERS accepts texts of 4000 characters, numbers and booleans",
    vars: { EXTRA_PARAMETERS: "seed" },
    accepted: [{ seed: "a".repeat(4000) }, { seed: 0.5 }, { seed: false }, { seed: null }],
    rejected: [{ seed: "a".repeat(4001) }, { seed: [] }, { seed: {} }],
  },
  {
    rule: "a parameter that EXTRA_PARAMETERS does not name is unknown",
    accepted: [],
    rejected: [{ seed: 1 }, { seed: null }],
  },
  {
    rule: "the model decides which values are accepted",
    accepted: [
      { model: "gpt-image-2.5-flare", quality: "xhigh" },
      { model: "dall-e-2", n: 2 },
      { model: "gpt-image-2", size: "1280x720" },
    ],
    rejected: [
      { model: "midjourney" },
      { model: "gpt-image-1.5", quality: "xhigh" },
      { quality: "xhigh" },
      { model: "dall-e-3", n: 2 },
      { model: "gpt-image-1.5", size: "1280x720" },
    ],
  },
  {
    rule: "a dated snapshot of a served model is served",
    accepted: [{ model: "gpt-image-2-2026-04-21" }, { model: "gpt-image-2.5-flare-2026-09-08" }],
    rejected: [
      { model: "gpt-image-2-2026-04" },
      { model: "gpt-image-2x5-flare" },
      { model: "gpt-image-1.5-2026-04-21", quality: "max" },
    ],
  },
  {
    rule: "MODELS, MODEL_ALIASES and DEFAULT_MODEL decide which models are served",
    vars: OTHER_MODELS,
    accepted: [
      { size: "640x360", quality: "anything" },
      { model: "best", complexity: "high" },
      { model: "best-2026-11-04" },
      { model: "acme/flux.1-2026-11-04" },
    ],
    rejected: [
      { model: "gpt-image-1.5" },
      { model: "gpt-image-2.6-flare" },
      { quality: "not one word" },
    ],
  },
  {
    rule: "REQUIRE_DOCUMENTED_FIELDS requires n and size",
    vars: DOCUMENTED_FIELDS,
    accepted: [
      { n: 1, size: "auto" },
      { n: 1, size: "1024x1024", model: "dall-e-3" },
    ],
    rejected: [{}, { n: 1 }, { size: "auto" }, { n: null, size: "auto" }, { n: 1, size: null }],
  },
  {
    rule: "SVG requires SVG_MODELS",
    accepted: [{ model: "gpt-image-2.6-flare", svg: null }],
    rejected: [{ model: "gpt-image-2.6-flare", output_format: "svg" }],
  },
  {
    rule: "svg names a model of SVG_MODELS",
    vars: { SVG_MODELS, DEFAULT_MODEL: "gpt-image-2.6-flare" },
    accepted: [
      { output_format: "svg", svg: { model: "gpt-5.6-terra", reasoning: { effort: null } } },
      { output_format: "svg", svg: null },
    ],
    rejected: [{ output_format: "svg", svg: { model: "gpt-4" } }],
  },
  {
    rule: "OpenAI no longer serves dall-e",
    vars: OPENAI,
    accepted: [{ model: "gpt-image-1" }],
    rejected: [{ model: "dall-e-2" }, { model: "dall-e-3" }, { model: "dall-e-3-2023-11-06" }],
  },
  {
    rule: "a model is required if the default is no longer served",
    vars: { ...OPENAI, DEFAULT_MODEL: "dall-e-3" },
    accepted: [{ model: "gpt-image-2" }],
    rejected: [{}, { model: null }],
  },
];

describe("the schema of a body", () => {
  it.each(RULES)("holds the limits of the gateway: $rule", ({ vars, accepted, rejected }) => {
    const gateway = testConfig({ ...vars });
    const isDocumented = documented(gateway);
    for (const [bodies, expected] of [
      [accepted, true],
      [rejected, false],
    ] as const) {
      for (const parameters of bodies) {
        const body = asSent(parameters);
        expect([body, isAccepted(body, gateway), isDocumented(body)]).toEqual([
          body,
          expected,
          expected,
        ]);
      }
    }
  });

  it.each([
    { name: "the default configuration", vars: {} },
    { name: "OpenAI as the upstream", vars: OPENAI },
    { name: "other models", vars: OTHER_MODELS },
    { name: "SVG and extra parameters", vars: { SVG_MODELS, EXTRA_PARAMETERS: "seed" } },
  ])("agrees with the gateway about each value of each parameter, with $name", ({ vars }) => {
    const gateway = testConfig(vars);
    const isDocumented = documented(gateway);
    const models = [...KNOWN_MODELS.map(({ id }) => id), "best", undefined];
    const disagreements = models
      .flatMap((model) => parameterOrder(gateway).map((name) => ({ model, name })))
      .flatMap(({ model, name }) => VALUES.map((value) => asSent({ model, [name]: value })))
      .filter((body) => isAccepted(body, gateway) !== isDocumented(body));
    expect(disagreements).toEqual([]);
  });

  it("follows the clock: a model leaves the document on the day of its shutdown", () => {
    const gateway = testConfig(OPENAI);
    const shutdownMs = Date.parse("2026-05-12T00:00:00Z");
    const body = { prompt: "a", model: "dall-e-3" };
    for (const nowMs of [shutdownMs - 1, shutdownMs, shutdownMs - 1]) {
      expect(documented(gateway, { nowMs })(body)).toBe(isAccepted(body, gateway, { nowMs }));
    }
    expect(documented(gateway, { nowMs: shutdownMs })(body)).toBe(false);
  });
});

/** Values and limits of all parameters, values of other types, and values just outside a limit. */
const VALUES = [
  [null, true, false, {}, [], "", "a", "a".repeat(64), "a".repeat(65), "not one word"],
  [-1, 0, 0.5, 1, 2, 3, 4, 9, 10, 11, 16, 17, 99, 100, 101, 200, 9999, 10_000],
  ["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd", "vivid", "natural"],
  ["png", "jpeg", "webp", "gif", "svg", "avif", "transparent", "opaque", "b64_json", "url"],
  ["1024x1024", "1536x1024", "1024x1536", "1792x1024", "1024×1024", "0x0"],
  [{ model: "gpt-5.6-terra" }, { model: "other" }, { reasoning: { effort: "high" } }],
].flat();

describe("the schema of a batch", () => {
  const request = { custom_id: "a", body: { prompt: "a" } };

  it.each([
    { name: "accepts a request", accepted: true, body: { requests: [request] } },
    { name: "accepts null", accepted: true, body: { requests: [request], webhook_url: null } },
    { name: "rejects an empty list", accepted: false, body: { requests: [] } },
    { name: "rejects an unknown name", accepted: false, body: { requests: [request], n: 1 } },
    {
      name: "rejects an unknown name in a request",
      accepted: false,
      body: { requests: [{ ...request, n: 1 }] },
    },
    {
      name: "rejects a long custom_id",
      accepted: false,
      body: { requests: [{ ...request, custom_id: "a".repeat(65) }] },
    },
  ])("$name, as the gateway does", ({ body, accepted }) => {
    const gateway = testConfig();
    expect(isAccepted(body, gateway, { parse: parseBatch })).toBe(accepted);
    expect(documented(gateway, { schema: "BatchBody" })(body)).toBe(accepted);
  });
});

describe("the examples of bodies", () => {
  it.each([
    { name: "the default configuration", vars: {} },
    { name: "OpenAI as the upstream", vars: OPENAI },
    { name: "other models", vars: OTHER_MODELS },
    { name: "all documented fields required", vars: { ...OTHER_MODELS, ...DOCUMENTED_FIELDS } },
    { name: "a default that is no longer served", vars: { ...OPENAI, DEFAULT_MODEL: "dall-e-3" } },
  ])("are accepted by the gateway, with $name", ({ vars }) => {
    const gateway = testConfig(vars);
    const bodies = exampleBodies(gateway);
    expect(bodies.length).toBeGreaterThanOrEqual(7);
    expect(bodies.filter((body) => !isAccepted(body, gateway))).toEqual([]);
  });
});

type Examples = Record<string, { value: unknown }>;

interface Document {
  paths: Record<
    string,
    { post?: { requestBody?: { content: { "application/json": { examples: Examples } } } } }
  >;
}

/** Returns the image requests in the examples of a gateway's document. */
function exampleBodies(gateway: RequestRules): unknown[] {
  const { paths } = openApiDocument("https://a.example", gateway, DECEMBER_MS) as Document;
  const examplesOf = (path: string) =>
    Object.values(paths[path]?.post?.requestBody?.content["application/json"].examples ?? {});
  const [webhooks, batches] = [examplesOf("/v1/webhooks/images"), examplesOf("/v1/images/batches")];
  return [
    ...examplesOf("/v1/images/generations").map(({ value }) => value),
    ...webhooks.map(({ value }) => requestInEvent(value)),
    ...batches.flatMap(({ value }) =>
      (value as { requests: { body: unknown }[] }).requests.map(({ body }) => body),
    ),
  ];
}
