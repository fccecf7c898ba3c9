import { Webhook } from "standardwebhooks";
import { describe, expect, inject, it } from "vitest";
import { usageOf } from "../../src/access/accounts.ts";
import { mintToken, type TokenLimits } from "../../src/access/token.ts";
import { eventually } from "../support/eventually.ts";
import { eventIn, hookAt } from "../support/webhooks/hook.ts";
import { webhookSecret } from "../support/webhooks/secret.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  environment,
  errorOf,
  fetchWorker,
  post,
  testConfig,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { jobsWithoutPauses } from "../support/worker/job-workflows.ts";
import { newBody, SMALL } from "../support/bodies.ts";
import { TOKEN_SECRET } from "../support/vars.ts";

const env = environment({ ACCESS: "token", TOKEN_SECRET });
const TARGET = "/v1/webhooks/images";

quietAndFresh();

// Registered after the hooks above, so that jobs end before the reset.
const jobs = jobsWithoutPauses();

function newId() {
  return `msg_${crypto.randomUUID()}`;
}

/** Sends a webhook that the reference library signs. */
function send(
  body: unknown,
  {
    id = newId(),
    secret = webhookSecret("in"),
    to = TARGET,
    env: environment = env,
    headers: more = {},
  } = {},
) {
  const now = new Date();
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const headers = {
    "content-type": "application/json",
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
    "webhook-signature": new Webhook(secret).sign(id, now, text),
    ...more,
  };
  return fetchWorker(to, environment, { method: "POST", headers, body: text });
}

async function tokenFor(limits: TokenLimits = { scope: "webhook" }): Promise<string> {
  const options = { sub: "n8n", ttlSeconds: 60, nowSeconds: Math.floor(Date.now() / 1000), limits };
  return (await mintToken([TOKEN_SECRET], options)).token;
}

/** Sends a webhook without a signature, with a token in its URL. */
function sendPlain(token: string, body: object, headers: Record<string, string> = {}) {
  const init = {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  };
  return fetchWorker(`${TARGET}/${token}`, env, init);
}

async function acceptedId(response: Response): Promise<string> {
  expect(response.status).toBe(202);
  const { id } = await response.json<{ id: string }>();
  expect(response.headers.get("location")).toBe(`/v1/images/generations/${id}`);
  return id;
}

/**
 * Returns the usage rows with costs. A request without cost is counted late, so its row may belong to the
 * previous test.
 */
async function paid() {
  const { rows } = await usageOf(testConfig());
  return rows.filter(({ spent }) => spent > 0);
}

/** Expects one upstream call for a prompt after all jobs have ended. */
async function expectGeneratedOnce(prompt: string): Promise<void> {
  await jobs.done();
  expect(await upstreamCalls(prompt)).toBe(1);
}

describe("a signed webhook", () => {
  it("submits a job without a token and without a webhook_url", async () => {
    const body = newBody();
    expect(await acceptedId(await send(body))).toMatch(/^job_/);
    await expectGeneratedOnce(body.prompt);
  });

  it("may be an event whose data is the request, and delivers to its webhook_url", async () => {
    const hook = hookAt(inject("receiverUrl"));
    const data = { ...newBody(), webhook_url: hook.url };
    const id = await acceptedId(await send({ type: "order.created", timestamp: "now", data }));
    await jobs.done();
    expect(eventIn((await hook.received())[0]).data).toMatchObject({ job: id });
    expect(await upstreamCalls(data.prompt)).toBe(1);
  });

  it("submits one job if it is sent again with the same id, also concurrently", async () => {
    const body = newBody();
    const id = newId();
    const ids = await Promise.all(
      Array.from({ length: 5 }, async () => acceptedId(await send(body, { id }))),
    );
    expect(new Set(ids).size).toBe(1);
    expect(await acceptedId(await send({ type: "again", data: body }, { id }))).toBe(ids[0]);
    await expectGeneratedOnce(body.prompt);
  });

  it("is identified by its webhook-id, so that an Idempotency-Key of any length is ignored", async () => {
    const headers = { "idempotency-key": "k".repeat(256) };
    expect((await send(newBody(), { headers })).status).toBe(202);
    const plain = { ...headers, "webhook-id": newId() };
    expect((await sendPlain(await tokenFor(), newBody(), plain)).status).toBe(202);
  });

  it("submits another job of the same generation if its id differs", async () => {
    const body = newBody();
    const ids = await Promise.all([acceptedId(await send(body)), acceptedId(await send(body))]);
    expect(new Set(ids).size).toBe(2);
    await expectGeneratedOnce(body.prompt);
  });

  it("keeps its job if webhooks arrive in another order", async () => {
    const [first, second] = [newId(), newId()];
    const [one, two] = [newBody(), newBody()];
    const late = await acceptedId(await send(two, { id: second }));
    const early = await acceptedId(await send(one, { id: first }));
    expect(await acceptedId(await send(two, { id: second }))).toBe(late);
    expect(await acceptedId(await send(one, { id: first }))).toBe(early);
  });

  it("is accepted with a signature of either configured secret", async () => {
    const both = `${webhookSecret("new")},${webhookSecret("in")}`;
    const rotated = environment({ WEBHOOK_SECRET: both });
    expect((await send(newBody(), { env: rotated })).status).toBe(202);
    const response = await send(newBody(), { secret: webhookSecret("new"), env: rotated });
    expect(response.status).toBe(202);
  });

  it("is rejected with 401 and generates nothing if another secret signed it", async () => {
    const body = newBody();
    const response = await send(body, { secret: webhookSecret("other") });
    expect(await errorOf(response)).toEqual([401, "invalid_signature", null]);
    expect(response.headers.get("www-authenticate")).toBe("StandardWebhooks");
    expect(await upstreamCalls(body.prompt)).toBe(0);
  });

  it("is verified before its body is parsed", async () => {
    const response = await send("{", { secret: webhookSecret("other") });
    expect(await errorOf(response)).toEqual([401, "invalid_signature", null]);
  });

  it.each([
    ["{", "invalid_json", null],
    ["[]", "invalid_json", null],
    [{}, "missing_required_parameter", "prompt"],
    [{ data: {} }, "missing_required_parameter", "prompt"],
    [{ data: null }, "unknown_parameter", "data"],
    [{ ...SMALL, prompt: "a", action: "opened" }, "unknown_parameter", "action"],
    [{ prompt: "a", stream: true }, "unsupported_parameter", "stream"],
    [
      { ...SMALL, prompt: "a", webhook_url: "https://evil.example/" },
      "invalid_value",
      "webhook_url",
    ],
  ])("is rejected with 400 if its body is %j", async (body, code, param) => {
    expect(await errorOf(await send(body))).toEqual([400, code, param]);
  });

  it("is rejected with 413 above the size limit", async () => {
    const response = await send({ ...SMALL, prompt: "a".repeat(70_000) });
    expect(await errorOf(response)).toEqual([413, "request_too_large", null]);
  });

  it("is rejected as `misconfigured` without a WEBHOOK_SECRET", async () => {
    const response = await send(newBody(), { env: environment({ WEBHOOK_SECRET: "" }) });
    expect(await errorOf(response)).toEqual([500, "misconfigured", null]);
  });

  it("is charged to the caller `webhook`", async () => {
    const body = newBody();
    await send(body);
    await eventually(async () => {
      expect(await paid()).toMatchObject([{ caller: "webhook", model: "dall-e-2", images: 1 }]);
    });
  });
});

describe("a webhook with a token in its URL", () => {
  it("submits a job that is charged to the token's subject", async () => {
    const body = newBody();
    await acceptedId(await sendPlain(await tokenFor(), body));
    await eventually(async () => {
      expect(await paid()).toMatchObject([{ caller: "n8n", images: 1 }]);
    });
  });

  it.each(["webhook-id", "idempotency-key"])("submits one job for the same %s", async (name) => {
    const token = await tokenFor();
    const header = { [name]: newId() };
    const body = newBody();
    const ids = await Promise.all([
      acceptedId(await sendPlain(token, body, header)),
      acceptedId(await sendPlain(token, body, header)),
    ]);
    expect(new Set(ids).size).toBe(1);
  });

  it("submits separate jobs if its webhook-id is empty, and rejects one that is too long", async () => {
    const token = await tokenFor();
    const empty = { "webhook-id": "" };
    const ids = [
      await acceptedId(await sendPlain(token, newBody(), empty)),
      await acceptedId(await sendPlain(token, newBody(), empty)),
    ];
    expect(new Set(ids).size).toBe(2);
    const long = await sendPlain(token, newBody(), { "webhook-id": "a".repeat(256) });
    expect(await errorOf(long)).toEqual([400, "string_above_max_length", "webhook-id"]);
  });

  it("is rejected with 422 under the Idempotency-Key of another request", async () => {
    const token = await tokenFor();
    const key = { "idempotency-key": newId() };
    await acceptedId(await sendPlain(token, newBody(), key));
    const other = await sendPlain(token, newBody(), key);
    expect(await errorOf(other)).toEqual([422, "idempotency_key_reused", null]);
  });

  it("is rejected with 403 if its token does not allow the model", async () => {
    const token = await tokenFor({ scope: "webhook", models: ["gpt-image-2"] });
    expect(await errorOf(await sendPlain(token, newBody()))).toEqual([
      403,
      "model_not_allowed",
      null,
    ]);
  });

  it("requires a valid token with the scope `webhook`", async () => {
    const response = await sendPlain(await tokenFor({}), newBody());
    expect(await errorOf(response)).toEqual([403, "insufficient_scope", null]);
    expect(await errorOf(await sendPlain("nothing", newBody()))).toEqual([
      401,
      "invalid_token",
      null,
    ]);
  });
});

describe("a token with the scope `webhook`", () => {
  it("is rejected for other requests, without an upstream call", async () => {
    const body = newBody();
    const response = await post(body, { authorization: `Bearer ${await tokenFor()}` }, env);
    expect(await errorOf(response)).toEqual([403, "insufficient_scope", null]);
    expect(await upstreamCalls(body.prompt)).toBe(0);
  });
});
