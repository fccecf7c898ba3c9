import { describe, expect, it } from "vitest";
import { app } from "../../src/app.ts";
import { openApiDocument } from "../../src/openapi/document.ts";
import {
  environment,
  errorOf,
  fetchWorker,
  ORIGIN,
  post,
  testConfig,
} from "../support/worker/harness.ts";

describe("the OpenAPI document", () => {
  it("describes every route and no other", () => {
    const { paths } = openApiDocument(ORIGIN, testConfig(), Date.now()) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const described = Object.entries(paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const served = app.routes
      .filter(({ method, path }) => method !== "ALL" && path !== "/")
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
    expect(described.toSorted()).toEqual([...new Set(served)].toSorted());
  });
});

interface Document {
  components: { schemas: Record<string, BodySchema> };
}

interface BodySchema {
  anyOf?: { $ref: string }[];
  properties?: Record<string, { maxLength?: number; enum?: string[] }>;
}

/** Returns the schema of each family's body in the document of a gateway. */
async function familyBodies(env: object): Promise<BodySchema[]> {
  const response = await fetchWorker("/openapi.json", env);
  const { schemas } = (await response.json<Document>()).components;
  const refs = schemas["GenerationBody"]?.anyOf ?? [];
  return refs.flatMap(({ $ref }) => schemas[$ref.replace(/^.*\//, "")] ?? []);
}

describe("the limits of a gateway", () => {
  const LIMIT = 50;
  const env = environment({
    PROMPT_MAX_CHARS: String(LIMIT),
    MODELS: "gpt-image-2,gpt-image-2.6-flare,dall-e-3,flux",
    DEFAULT_MODEL: "gpt-image-2",
    EXTRA_PARAMETERS: "seed",
  });

  it("of a prompt are the same in the OpenAPI document, in the list of models and in an error", async () => {
    const bodies = await familyBodies(env);
    expect(bodies).toHaveLength(4);
    expect(bodies.map(({ properties }) => properties?.["prompt"]?.maxLength)).toEqual(
      bodies.map(() => LIMIT),
    );
    const models = await fetchWorker("/v1/models", env);
    const { data } = await models.json<{ data: { id: string; prompt_max_chars: number }[] }>();
    expect(data.map((model) => model.prompt_max_chars)).toEqual(data.map(() => LIMIT));
    for (const { id } of data) {
      const response = await post({ model: id, prompt: "é".repeat(LIMIT + 1) }, {}, env);
      expect(await errorOf(response.clone())).toEqual([400, "string_above_max_length", "prompt"]);
      expect(await response.text()).toMatch(/At most 50 .* with PROMPT_MAX_CHARS/);
    }
  });

  it("include the extra parameters and the output formats that it accepts", async () => {
    const bodies = await familyBodies(env);
    expect(bodies.every(({ properties }) => properties !== undefined && "seed" in properties)).toBe(
      true,
    );
    const formats = (env: object) =>
      familyBodies(env).then((bodies) =>
        bodies.map(
          ({ properties }) => properties?.["output_format"]?.enum?.includes("svg") ?? false,
        ),
      );
    expect(await formats(env)).not.toContain(true);
    const svgModels = { SVG_MODELS: '{"m":{"text_in":1,"text_out":1,"max_tokens":1}}' };
    expect(await formats(environment(svgModels))).toContain(true);
  });
});
