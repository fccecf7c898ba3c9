import { describe, expect, it } from "vitest";
import { version } from "../../package.json";
import { BINDINGS } from "../../src/environment.ts";
import { answer, environment } from "./gateway.ts";

const ORIGIN = "https://gateway.example";

function get(path: string, env = environment(), init: RequestInit = {}) {
  return answer(
    new Request(`${ORIGIN}${path}`, init as RequestInit<IncomingRequestCfProperties>),
    env,
  );
}

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
  it("names the bindings and secrets that are there, and no value", async () => {
    const response = await get("/health", environment({ UPSTREAM_API_KEY: "sk-very-secret" }));
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

  it.each([[undefined], [""]])("says that a secret is missing: %j", async (UPSTREAM_API_KEY) => {
    const response = await get("/health", environment({ UPSTREAM_API_KEY }));
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ secrets: { UPSTREAM_API_KEY: false } });
  });
});

describe("GET /v1/models", () => {
  it("has the API's form, and each model's rules", async () => {
    const response = await get("/v1/models");
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

  it("shows what MODELS and MODEL_ALIASES add", async () => {
    const env = environment({
      MODELS: "gpt-image-1.5,gpt-image-3",
      MODEL_ALIASES: "fast=gpt-image-2.6-flare",
      PROMPT_MAX_CHARS: "200",
    });
    const { data } = await (await get("/v1/models", env)).json<{ data: Model[] }>();
    expect(data.map((model) => model.id)).toEqual(["gpt-image-1.5", "gpt-image-3", "fast"]);
    expect(data[1]).toMatchObject({ created: 0, owned_by: "upstream", prompt_max_chars: 200 });
    expect(data[1]?.qualities).toContain("max");
  });
});

describe("GET /v1/models/{id}", () => {
  it("is the same entry as in the list", async () => {
    const { data } = await (await get("/v1/models")).json<{ data: Model[] }>();
    const one = await (await get("/v1/models/gpt-image-2")).json<Model>();
    expect(one).toEqual(data.find((model) => model.id === "gpt-image-2"));
  });

  it("knows a dated snapshot", async () => {
    const one = await (await get("/v1/models/gpt-image-2-2026-04-21")).json<Model>();
    expect(one.id).toBe("gpt-image-2-2026-04-21");
  });

  it("is 404 for a model that is not served", async () => {
    const response = await get("/v1/models/gpt-5");
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({
      error: { code: "model_not_found", param: "model" },
    });
  });
});

describe("every answer", () => {
  it.each([
    ["GET", "/nowhere", 404, "not_found", null],
    ["PUT", "/", 405, "method_not_allowed", "GET, HEAD"],
    ["GET", "/v1/images/generations", 404, "not_found", null],
    ["PUT", "/v1/images/generations", 405, "method_not_allowed", "POST, GET, HEAD"],
    ["POST", "/v1/models", 405, "method_not_allowed", "GET, HEAD"],
    ["DELETE", "/health", 405, "method_not_allowed", "GET, HEAD"],
  ])("%s %s is %i %s, in the contract's form", async (method, path, status, code, allow) => {
    const response = await get(path, environment(), { method });
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
  });

  it.each(["/health", "/nowhere", "/v1/models"])("%s carries an id of its own", async (path) => {
    const [one, other] = [await get(path), await get(path)];
    expect(one.headers.get("x-request-id")).toMatch(/^req_[0-9a-f]{32}$/);
    expect(one.headers.get("x-request-id")).not.toBe(other.headers.get("x-request-id"));
    expect(one.headers.get("server-timing")).toMatch(/total;dur=\d+/);
  });

  it("does not take over an id from outside", async () => {
    const response = await get("/health", environment(), { headers: { "x-request-id": "mine" } });
    expect(response.headers.get("x-request-id")).toMatch(/^req_/);
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

  it("allows a preflight what it asks for", async () => {
    const response = await get("/v1/images/generations", environment(), preflight);
    expect(response.status).toBe(204);
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(response.headers.get("access-control-allow-methods")).toContain("POST");
    expect(response.headers.get("access-control-allow-headers")).toBe(
      "authorization,content-type,x-stainless-os",
    );
    expect(response.headers.get("access-control-max-age")).toBe("86400");
  });

  it("is for the configured origins where there are some", async () => {
    const env = environment({ ALLOWED_ORIGINS: "https://app.example,https://b.example" });
    const origins = ["https://app.example", "https://evil.example", "https://app.example.evil"];
    const allowed = await Promise.all(
      origins.map(async (origin) => {
        const response = await get("/v1/models", env, { headers: { origin } });
        expect(response.headers.get("vary")).toContain("Origin");
        return response.headers.get("access-control-allow-origin");
      }),
    );
    expect(allowed).toEqual(["https://app.example", null, null]);
  });

  it("exposes what the SDKs read", async () => {
    const response = await get("/v1/models");
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
