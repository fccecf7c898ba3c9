import { describe, expect, it, vi } from "vitest";
import { version } from "../../package.json";
import { BINDINGS } from "../../src/config/environment.ts";
import { ADMIN, environment, fetchWorker, ORIGIN, post } from "../support/worker/harness.ts";
import { DECEMBER_MS } from "../support/upstream/shutdowns.ts";
import { SVG_MODELS } from "../support/vars.ts";

interface Model {
  price: Record<string, number>;
  id: string;
  object: string;
  created: number;
  owned_by: string;
  default: boolean;
  sizes: unknown;
  qualities: string[];
  max_images: number;
}

describe("GET /health", () => {
  it("reports which bindings and secrets are set, without their values", async () => {
    const response = await fetchWorker(
      "/health",
      environment({ UPSTREAM_API_KEY: "sk-very-secret" }),
    );
    expect(response.status).toBe(200);
    const text = await response.text();
    expect(JSON.parse(text)).toEqual({
      status: "ok",
      version,
      bindings: Object.fromEntries(BINDINGS.map((name) => [name, true])),
      secrets: {
        UPSTREAM_API_KEY: true,
        ADMIN_KEY: true,
        TOKEN_SECRET: false,
        TURNSTILE_SECRET: false,
        WEBHOOK_SECRET: true,
        WEBHOOK_SIGNING_SECRET: true,
      },
      access: "public",
      turnstile_site_key: null,
      budget: { usd_per_day: 100_000, usd_left: 100_000 },
      local_development: true,
    });
    expect(text).not.toContain("sk-very-secret");
  });

  it.each([[undefined], [""]])(
    "reports a secret with the value %j as missing",
    async (UPSTREAM_API_KEY) => {
      const response = await fetchWorker("/health", environment({ UPSTREAM_API_KEY }));
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({ secrets: { UPSTREAM_API_KEY: false } });
    },
  );
});

describe("GET /v1/models", () => {
  it("returns a list in the API's format with the rules of each model", async () => {
    const response = await fetchWorker("/v1/models");
    const list = await response.json<{ object: string; data: Model[] }>();
    expect(list.object).toBe("list");
    const defaults = list.data.filter((model) => model.default);
    expect(defaults.map((model) => model.id)).toEqual(["gpt-image-1.5"]);
    for (const model of list.data) {
      expect(model).toMatchObject({ object: "model", owned_by: "openai" });
      expect(Number.isInteger(model.created)).toBe(true);
      expect(Object.values(model.price).every((price) => price > 0)).toBe(true);
    }
    expect(list.data.find((model) => model.id === "dall-e-3")).toMatchObject({
      created: Date.UTC(2023, 10, 6) / 1000,
      max_images: 1,
      sizes: { kind: "listed", sizes: ["1024x1024", "1792x1024", "1024x1792"] },
      qualities: ["standard", "hd"],
      styles: ["vivid", "natural"],
      output_formats: [],
      default_response_format: "url",
    });
    expect(list.data.find((model) => model.id === "gpt-image-2")).toMatchObject({
      max_images: 10,
      sizes: { kind: "free", multiple_of: 16, max_edge: 3840 },
      output_formats: ["png", "jpeg", "webp"],
      max_partial_images: 3,
    });
  });

  it("lists the models of MODELS and the aliases of MODEL_ALIASES", async () => {
    const env = environment({
      MODELS: "gpt-image-1.5,gpt-image-3",
      MODEL_ALIASES: "fast=gpt-image-2.6-flare",
      PROMPT_MAX_CHARS: "200",
    });
    const { data } = await (await fetchWorker("/v1/models", env)).json<{ data: Model[] }>();
    expect(data.map((model) => model.id)).toEqual(["gpt-image-1.5", "gpt-image-3", "fast"]);
    expect(data[1]).toMatchObject({ created: 0, owned_by: "upstream", prompt_max_chars: 200 });
    expect(data[1]?.qualities).toContain("max");
  });

  it.each([
    ["with", { SVG_MODELS }, Object.keys(JSON.parse(SVG_MODELS))],
    ["without", {}, []],
  ])("lists the formats and the writers of an SVG %s SVG_MODELS", async (_, vars, writers) => {
    const { data } = await (
      await fetchWorker("/v1/models", environment(vars))
    ).json<{
      data: Model[];
    }>();
    const formats = ["png", "jpeg", "webp", "gif", ...(writers.length > 0 ? ["svg"] : [])];
    const modelOf = (id: string) => data.find((model) => model.id === id);
    expect(modelOf("gpt-image-2.6-flare")).toMatchObject({
      output_formats: formats,
      max_frames: 16,
      svg_models: writers,
    });
    expect(modelOf("gpt-image-2")).toMatchObject({ max_frames: 0, svg_models: [] });
  });
});

describe("GET /v1/models/{id}", () => {
  it("returns the same entry as the list", async () => {
    const { data } = await (await fetchWorker("/v1/models")).json<{ data: Model[] }>();
    const one = await (await fetchWorker("/v1/models/gpt-image-2")).json<Model>();
    expect(one).toEqual(data.find((model) => model.id === "gpt-image-2"));
  });

  it("returns a dated snapshot of a model", async () => {
    const one = await (await fetchWorker("/v1/models/gpt-image-2-2026-04-21")).json<Model>();
    expect(one.id).toBe("gpt-image-2-2026-04-21");
  });

  it("returns 404 for a model that is not served", async () => {
    const response = await fetchWorker("/v1/models/gpt-5");
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({
      error: { code: "model_not_found", param: "model" },
    });
  });
});

describe("OpenAI as the upstream", () => {
  /** Returns an environment without an API key, so that nothing is sent to OpenAI. */
  const openAi = (vars: Record<string, string> = {}) =>
    environment({
      UPSTREAM_BASE_URL: "https://api.openai.com/v1",
      UPSTREAM_API_KEY: undefined,
      ...vars,
    });

  interface Check {
    name: string;
    ok: boolean;
    warning?: boolean;
    detail: string;
    cure?: string;
  }

  async function checkOf(name: string, env: object): Promise<Check | undefined> {
    const init = { headers: ADMIN };
    const response = await fetchWorker("/v1/doctor", env, init);
    const { checks } = await response.json<{ checks: Check[] }>();
    return checks.find((check) => check.name === name);
  }

  async function listed(env: object): Promise<string[]> {
    const { data } = await (await fetchWorker("/v1/models", env)).json<{ data: Model[] }>();
    return data.map(({ id }) => id);
  }

  it("does not list dall-e models, and rejects them with an error that names the successor", async () => {
    expect((await listed(openAi())).filter((id) => id.startsWith("dall-e"))).toEqual([]);
    expect((await fetchWorker("/v1/models/dall-e-3", openAi())).status).toBe(404);
    const response = await post({ model: "dall-e-3", prompt: "a man walks" }, {}, openAi());
    expect(response.status).toBe(400);
    const { error } = await response.json<{ error: { message: string } }>();
    expect(error).toMatchObject({
      type: "image_generation_user_error",
      param: "model",
      code: "invalid_value",
    });
    expect(error.message).toContain("'gpt-image-2.6-sunburst'");
  });

  it.each([{ RETIRED_MODELS: "keep" }, { MODEL_ALIASES: "dall-e-3=gpt-image-2" }])(
    "serves dall-e-3 if the operator configures it with %j",
    async (vars) => {
      expect(await listed(openAi(vars))).toContain("dall-e-3");
      expect((await fetchWorker("/v1/models/dall-e-3", openAi(vars))).status).toBe(200);
    },
  );

  it("rejects requests and fails diagnostics if the default model is retired, but stays healthy", async () => {
    const env = openAi({ DEFAULT_MODEL: "dall-e-3", MODELS: "dall-e-3" });
    expect((await fetchWorker("/health", env)).status).toBe(200);
    expect((await post({ prompt: "a man walks" }, {}, env)).status).toBe(400);
    const check = await checkOf("model", env);
    expect(check?.ok).toBe(false);
    expect(check?.cure).toContain('DEFAULT_MODEL = "gpt-image-2.6-sunburst"');
  });

  it("lists the successor of a retired model, and none for an alias", async () => {
    const env = openAi({ MODEL_ALIASES: "gpt-image-1-mini=gpt-image-2,fast=gpt-image-1" });
    const model = async (id: string) => (await fetchWorker(`/v1/models/${id}`, env)).json();
    expect(await model("gpt-image-1")).toMatchObject({
      shutdown_date: "2026-10-23",
      replaced_by: "gpt-image-2.6-sunburst",
    });
    expect(await model("gpt-image-1-mini")).toMatchObject({
      shutdown_date: null,
      replaced_by: null,
    });
    expect(await model("fast")).toMatchObject({ shutdown_date: "2026-10-23", replaced_by: null });
  });

  it("fails diagnostics if RETIRED_MODELS keeps a retired default, and warns shortly before the shutdown", async () => {
    const env = openAi({ DEFAULT_MODEL: "gpt-image-1", RETIRED_MODELS: "keep" });
    const check = await checkOf("model", env);
    expect(check?.ok).toBe(false);
    expect(check?.cure).toContain('Remove RETIRED_MODELS = "keep"');
    const now = vi.spyOn(Date, "now").mockReturnValue(Date.UTC(2026, 10, 30));
    expect(await checkOf("model", openAi({ RETIRED_MODELS: "keep" }))).toMatchObject({
      ok: true,
      warning: true,
    });
    now.mockRestore();
  });

  it("fails diagnostics for an alias of a model that is shut down, and warns before the shutdown", async () => {
    const now = vi.spyOn(Date, "now").mockReturnValue(Date.UTC(2026, 10, 30));
    const aliases = (MODEL_ALIASES: string) => checkOf("aliases", openAi({ MODEL_ALIASES }));
    expect(await aliases("fast=gpt-image-2.6-flare")).toMatchObject({ ok: true });
    const failed = await aliases("fast=gpt-image-1,slow=gpt-image-1.5,best=gpt-image-2");
    expect(failed?.ok).toBe(false);
    expect(failed?.detail).toContain("fast is sent as gpt-image-1: OpenAI shut it down");
    expect(failed?.cure).toContain(
      "fast=gpt-image-2.6-sunburst,slow=gpt-image-2.6-sunburst,best=gpt-image-2",
    );
    expect(await aliases("fast=gpt-image-1-mini")).toMatchObject({ ok: true, warning: true });
    now.mockReturnValue(DECEMBER_MS);
    expect(await aliases("fast=gpt-image-1-mini")).toMatchObject({ ok: false });
    now.mockRestore();
  });
});

describe("the response", () => {
  it.each([
    ["GET", "/nowhere", 404, "not_found", null],
    ["PUT", "/", 405, "method_not_allowed", "GET, HEAD"],
    ["GET", "/v1/images/generations", 405, "method_not_allowed", "POST"],
    ["PUT", "/v1/images/generations", 405, "method_not_allowed", "POST"],
    ["POST", "/v1/images/variations", 410, "endpoint_retired", null],
    ["GET", "/v1/images/variations", 405, "method_not_allowed", "POST"],
    ["POST", "/v1/models", 405, "method_not_allowed", "GET, HEAD"],
    ["DELETE", "/health", 405, "method_not_allowed", "GET, HEAD"],
  ])(
    "to %s %s is %i with the code %s in the documented error format",
    async (method, path, status, code, allow) => {
      const response = await fetchWorker(path, environment(), { method });
      expect(response.status).toBe(status);
      expect(response.headers.get("content-type")).toBe("application/json");
      expect(response.headers.get("allow")).toBe(allow);
      expect(response.headers.get("access-control-allow-origin")).toBe("*");
      expect(await response.json()).toEqual({
        error: {
          message: expect.any(String) as string,
          type: "invalid_request_error",
          param: null,
          code,
        },
      });
    },
  );

  it.each(["/health", "/nowhere", "/v1/models"])(
    "to %s has a unique x-request-id and a Server-Timing",
    async (path) => {
      const [one, other] = [await fetchWorker(path), await fetchWorker(path)];
      expect(one.headers.get("x-request-id")).toMatch(/^req_[0-9a-f]{32}$/);
      expect(one.headers.get("x-request-id")).not.toBe(other.headers.get("x-request-id"));
      expect(one.headers.get("server-timing")).toMatch(/total;dur=\d+/);
    },
  );

  it("does not repeat the x-request-id of the request", async () => {
    const response = await fetchWorker("/health", environment(), {
      headers: { "x-request-id": "mine" },
    });
    expect(response.headers.get("x-request-id")).toMatch(/^req_/);
  });
});

describe("/v1/images/generations", () => {
  it("allows GET and HEAD if TOKEN_SECRET is set, and rejects an unsigned GET with 403", async () => {
    const signing = environment({ TOKEN_SECRET: "x".repeat(32) });
    const response = await fetchWorker("/v1/images/generations", signing, { method: "PUT" });
    expect(response.headers.get("allow")).toBe("POST, GET, HEAD");
    expect((await fetchWorker("/v1/images/generations", signing)).status).toBe(403);
  });

  it("rejects HEAD with 405 if TOKEN_SECRET is not set", async () => {
    const response = await fetchWorker("/v1/images/generations", environment(), { method: "HEAD" });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "POST"]);
  });
});

describe("POST /v1/images/variations", () => {
  it("returns 410 and names the replacement, even for a multipart body", async () => {
    const body = new FormData();
    body.set("image", new File(["x"], "a.png"));
    const response = await fetchWorker("/v1/images/variations", environment(), {
      method: "POST",
      body,
    });
    expect(response.status).toBe(410);
    const { error } = await response.json<{ error: { message: string } }>();
    expect(error.message).toContain("/v1/images/edits");
  });
});

describe("the 404 for a path that resembles a route", () => {
  async function messageOf(path: string, method = "POST"): Promise<string> {
    const response = await fetchWorker(path, environment(), { method });
    expect(response.status).toBe(404);
    const { error } = await response.json<{ error: { message: string; code: string } }>();
    expect(error.code).toBe("not_found");
    return error.message;
  }

  it.each([
    "/images/generations",
    "/api/v1/images/generations",
    "/V1/images/generations",
    "/v1/images/generations/images/generations",
    "/images/generations/gen_x",
    "/models",
    "/v2/models/gpt-image-2",
    "//v1/images/generations",
    "/v1//images/generations",
    "/v1/images/generations/",
    "/v1/models/",
    "/v1/tokens/",
    "/v1/v1/images/generations",
    "/v1/v1/models",
    "/openai/deployments/my-deployment/images/generations?api-version=2025-04-01-preview",
    "/openai/v1/images/generations?api-version=preview",
  ])("names the base URL to set for %s", async (path) => {
    expect(await messageOf(path)).toContain(`Set the base URL of the client to '${ORIGIN}/v1'`);
  });

  it.each([
    ["/v1/v1/images/generations", `or to '${ORIGIN}' if the client adds '/v1' itself`],
    ["//v1/images/generations", "an extra '/'"],
    ["/v1/images/generations/", "an extra '/'"],
    ["/openai/deployments/x/images/generations", "Azure"],
  ])("names the reason for %s: %s", async (path, reason) => {
    expect(await messageOf(path)).toContain(reason);
  });

  it.each(["/nowhere", "/v1", "/v1/chat/completions", "/v1/images/edits", "/wp-login.php"])(
    "has no hint for %s",
    async (path) => {
      expect(await messageOf(path)).toBe("There is nothing at this URL.");
    },
  );

  it("does not repeat the path", async () => {
    expect(await messageOf("/openai/deployments/secret-name/images/generations")).not.toContain(
      "secret-name",
    );
  });
});

describe("CORS", () => {
  const preflight = {
    method: "OPTIONS",
    headers: {
      origin: "https://app.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type,x-stainless-os",
    },
  };

  it("allows the method and the headers that a preflight requests", async () => {
    const response = await fetchWorker("/v1/images/generations", environment(), preflight);
    expect(response.status).toBe(204);
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(response.headers.get("access-control-allow-methods")).toBe("GET,HEAD,POST,DELETE");
    expect(response.headers.get("access-control-allow-headers")).toBe(
      "authorization,content-type,x-stainless-os",
    );
    expect(response.headers.get("access-control-max-age")).toBe("86400");
  });

  it("allows only the origins of ALLOWED_ORIGINS if it is set", async () => {
    const env = environment({ ALLOWED_ORIGINS: "https://app.example,https://b.example" });
    const origins = ["https://app.example", "https://evil.example", "https://app.example.evil"];
    const allowed = await Promise.all(
      origins.map(async (origin) => {
        const response = await fetchWorker("/v1/models", env, { headers: { origin } });
        expect(response.headers.get("vary")).toContain("Origin");
        return response.headers.get("access-control-allow-origin");
      }),
    );
    expect(allowed).toEqual(["https://app.example", null, null]);
  });

  it("exposes the headers that the SDKs read", async () => {
    const response = await fetchWorker("/v1/models");
    const exposed = String(response.headers.get("access-control-expose-headers")).split(",");
    expect(exposed).toEqual(
      expect.arrayContaining([
        "x-request-id",
        "retry-after",
        "x-should-retry",
        "cache-status",
        "age",
      ]),
    );
  });
});
