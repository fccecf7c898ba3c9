import { describe, expect, it } from "vitest";
import { spentToday } from "../../src/access/accounts.ts";
import { verifyToken } from "../../src/access/token.ts";
import { eventually } from "../support/eventually.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  ADMIN,
  callWorker,
  environment,
  errorOf,
  fetchWorker,
  ORIGIN,
  post,
  testConfig,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { newBody } from "../support/bodies.ts";
import { TOKEN_SECRET, VARS } from "../support/vars.ts";

const env = environment({ ACCESS: "token", TOKEN_SECRET });

quietAndFresh();

interface Minted {
  token: string;
  jti: string;
  sub: string;
  expires_at: number;
}

function tokens(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = ADMIN,
) {
  const init = {
    method,
    headers: { "content-type": "application/json", ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  };
  return fetchWorker(`/v1/tokens${path}`, env, init);
}

async function minted(more: object = {}): Promise<Minted> {
  const response = await tokens("POST", "", { sub: "web", ttl_seconds: 60, ...more });
  expect(response.status).toBe(201);
  return response.json();
}

function generate(token: string | undefined, body: object = newBody(), headers = {}) {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return post(body, { ...authorization, ...headers }, env);
}

describe("POST /v1/tokens", () => {
  it("creates a valid token in a response with `no-store`", async () => {
    const response = await tokens("POST", "", { sub: "web", ttl_seconds: 60 });
    expect(response.status).toBe(201);
    expect(response.headers.get("cache-control")).toBe("no-store");
    const { token, ...rest } = await response.json<Minted>();
    const claims = await verifyToken(token, [TOKEN_SECRET]);
    expect(rest).toEqual({ jti: claims.jti, sub: "web", expires_at: claims.exp });
    expect((await generate(token)).status).toBe(200);
  });

  it.each([
    [{}, "sub", "missing_required_parameter"],
    [{ sub: "" }, "sub", "invalid_value"],
    [{ sub: "a b" }, "sub", "invalid_value"],
    [{ sub: "web" }, "ttl_seconds", "missing_required_parameter"],
    [{ sub: "web", ttl_seconds: 0 }, "ttl_seconds", "integer_below_min_value"],
    [{ sub: "web", ttl_seconds: 31_536_001 }, "ttl_seconds", "integer_above_max_value"],
    [{ sub: "web", ttl_seconds: 60, origins: ["a.example"] }, "origins[0]", "invalid_value"],
    [{ sub: "web", ttl_seconds: 60, origins: [null] }, "origins[0]", "invalid_type"],
    [{ sub: "web", ttl_seconds: 60, origins: [] }, "origins", "invalid_value"],
    [{ sub: "web", ttl_seconds: 60, models: "dall-e-2" }, "models", "invalid_type"],
    [{ sub: "web", ttl_seconds: 60, models: [""] }, "models[0]", "empty_string"],
    [
      { sub: "web", ttl_seconds: 60, models: ["m".repeat(201)] },
      "models[0]",
      "string_above_max_length",
    ],
    [{ sub: "web", ttl_seconds: 60, max_n: 11 }, "max_n", "integer_above_max_value"],
    [{ sub: "web", ttl_seconds: 60, admin: true }, "admin", "unknown_parameter"],
    [[], null, "invalid_json"],
    [{ turnstile_token: "x" }, "turnstile_token", "unknown_parameter"],
  ])("rejects %j with 400", async (body, param, code) => {
    expect(await errorOf(await tokens("POST", "", body))).toEqual([400, code, param]);
  });

  it.each([
    [{ ttl_seconds: "60" }, "'ttl_seconds' must be a number, not a string."],
    [{ ttl_seconds: 0.5 }, "'ttl_seconds' must be an integer, not a decimal number."],
    [{ budget_usd: "0.5" }, "'budget_usd' must be a number, not a string."],
  ])("names the type that a parameter requires: %j", async (parameter, message) => {
    const response = await tokens("POST", "", { sub: "web", ttl_seconds: 60, ...parameter });
    const { error } = await response.json<{ error: { message: string } }>();
    expect(error.message).toBe(message);
  });

  it.each([
    [{}, "missing_token"],
    [{ authorization: "Bearer wrong" }, "invalid_token"],
    [{ authorization: "Basic YTpi" }, "invalid_token"],
  ])("requires the admin key, and rejects %j", async (headers, code) => {
    const response = await tokens("POST", "", { sub: "web", ttl_seconds: 60 }, headers);
    expect(await errorOf(response)).toEqual([401, code, null]);
  });

  it("rejects an access token in place of the admin key", async () => {
    const { token } = await minted();
    const headers = { authorization: `Bearer ${token}` };
    const response = await tokens("POST", "", { sub: "web", ttl_seconds: 60 }, headers);
    expect(await errorOf(response)).toEqual([401, "invalid_token", null]);
  });
});

describe("a gateway with ACCESS=token", () => {
  it.each([
    [undefined, "missing_token"],
    ["sk-of-another-service", "invalid_token"],
    [VARS.ADMIN_KEY, "invalid_token"],
  ])("rejects the token %s without an upstream call", async (token, code) => {
    const body = newBody();
    expect(await errorOf(await generate(token, body))).toEqual([401, code, null]);
    expect(await upstreamCalls(body.prompt)).toBe(0);
  });

  it("rejects a token for one origin from another origin, and without one", async () => {
    const { token } = await minted({ origins: ["https://a.example"] });
    const from = (origin?: string) =>
      generate(token, newBody(), origin === undefined ? {} : { origin });
    expect((await from("https://a.example")).status).toBe(200);
    for (const origin of ["https://b.example", "https://a.example.evil", "null", undefined]) {
      expect(await errorOf(await from(origin))).toEqual([403, "origin_not_allowed", null]);
    }
  });

  it("enforces the models and the image count of a token", async () => {
    const { token } = await minted({ models: ["dall-e-2"], max_n: 1, qualities: ["standard"] });
    expect((await generate(token)).status).toBe(200);
    expect(await errorOf(await generate(token, { prompt: "x", model: "dall-e-3" }))).toEqual([
      403,
      "model_not_allowed",
      null,
    ]);
    expect(await errorOf(await generate(token, { ...newBody(), n: 2 }))).toEqual([
      400,
      "integer_above_max_value",
      "n",
    ]);
  });

  it("enforces a token's own budget, and does not charge cache hits", async () => {
    // Enough for one dall-e-2 image of 256x256, and not for two.
    const { token } = await minted({ budget_usd: 0.02 });
    const body = newBody();
    expect((await generate(token, body)).status).toBe(200);
    expect(await errorOf(await generate(token))).toEqual([429, "budget_exceeded", null]);
    expect((await generate(token, body)).status).toBe(200);
    await eventually(async () => expect(await spentToday(testConfig())).toBe(16_000));
  });

  it("accepts the same Idempotency-Key from two callers", async () => {
    const [ann, bob] = [await minted({ sub: "ann" }), await minted({ sub: "bob" })];
    const headers = { "idempotency-key": "the same" };
    expect((await generate(ann.token, newBody(), headers)).status).toBe(200);
    expect((await generate(bob.token, newBody(), headers)).status).toBe(200);
    expect(await errorOf(await generate(ann.token, newBody(), headers))).toEqual([
      422,
      "idempotency_key_reused",
      null,
    ]);
  });

  it("requires a token to poll a generation", async () => {
    const { token } = await minted();
    const { id } = await (await generate(token)).json<{ id: string }>();
    const poll = (headers: Record<string, string>) =>
      fetchWorker(`/v1/images/generations/${id}`, env, { headers });
    expect((await poll({ authorization: `Bearer ${token}` })).status).toBe(200);
    expect(await errorOf(await poll({}))).toEqual([401, "missing_token", null]);
  });
});

describe("the admission of a request", () => {
  it.each([
    ["/v1/images/generations", "missing_token"],
    ["/v1/images/batches", "missing_token"],
    ["/v1/webhooks/images/not-a-token", "invalid_token"],
  ])("rejects the caller before it reads the body: POST %s", async (path, code) => {
    const request = new Request<unknown, IncomingRequestCfProperties>(`${ORIGIN}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{",
    });
    expect(await errorOf(await callWorker(request, env))).toEqual([401, code, null]);
    expect(request.bodyUsed).toBe(false);
  });

  it("rejects an invalid body before a body beyond the limits of the token", async () => {
    const { token } = await minted({ max_n: 1 });
    expect(await errorOf(await generate(token, { prompt: "a", n: 2, size: "1x1" }))).toEqual([
      400,
      "invalid_value",
      "size",
    ]);
    expect(await errorOf(await generate(token, { prompt: "a", n: 2 }))).toEqual([
      400,
      "integer_above_max_value",
      "n",
    ]);
  });
});

describe("a gateway with ACCESS=public", () => {
  const open = environment({ TOKEN_SECRET });

  it.each([["sk-of-another-service"], ["a.b.c"]])(
    "accepts the invalid token %s as an anonymous caller",
    async (key) => {
      const response = await post(newBody(), { authorization: `Bearer ${key}` }, open);
      expect(response.status).toBe(200);
    },
  );

  it("enforces the limits of a valid token", async () => {
    const { token } = await minted({ max_n: 1 });
    const headers = { authorization: `Bearer ${token}` };
    expect(await errorOf(await post({ ...newBody(), n: 2 }, headers, open))).toEqual([
      400,
      "integer_above_max_value",
      "n",
    ]);
  });
});

describe("DELETE /v1/tokens", () => {
  /** Waits until a token is rejected: an isolate caches a revocation lookup for a second. */
  async function expectRejected(token: string): Promise<void> {
    await eventually(async () =>
      expect(await errorOf(await generate(token))).toEqual([401, "invalid_token", null]),
    );
  }

  it("revokes one token within a second, and no other", async () => {
    const [first, second] = [await minted(), await minted()];
    expect((await generate(first.token)).status).toBe(200);
    expect((await tokens("DELETE", `/${first.jti}`)).status).toBe(204);
    await expectRejected(first.token);
    expect((await generate(second.token)).status).toBe(200);
  });

  it("revokes all tokens of a subject, and none of another", async () => {
    const [first, second] = [await minted(), await minted()];
    const other = await minted({ sub: "other" });
    expect((await tokens("DELETE", "?sub=web")).status).toBe(204);
    await expectRejected(first.token);
    await expectRejected(second.token);
    expect((await generate(other.token)).status).toBe(200);
  });

  it("requires `sub` if the path has no jti", async () => {
    expect(await errorOf(await tokens("DELETE", ""))).toEqual([
      400,
      "missing_required_parameter",
      "sub",
    ]);
  });

  it.each([
    [`/${"a".repeat(600)}`, "jti"],
    ["/a%20b", "jti"],
    [`?sub=${"a".repeat(600)}`, "sub"],
    ["?sub=", "sub"],
    ["?sub=a%20b", "sub"],
  ])("rejects %s, which no token can have, with 400", async (path, param) => {
    expect(await errorOf(await tokens("DELETE", path))).toEqual([400, "invalid_value", param]);
  });

  it.each([["/tok_1"], ["?sub=web"]])("requires the admin key for %s", async (path) => {
    const { token } = await minted();
    expect(await errorOf(await tokens("DELETE", path, undefined, {}))).toEqual([
      401,
      "missing_token",
      null,
    ]);
    const headers = { authorization: `Bearer ${token}` };
    expect((await tokens("DELETE", path, undefined, headers)).status).toBe(401);
    expect((await generate(token)).status).toBe(200);
  });
});
