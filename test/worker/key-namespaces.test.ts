import { describe, expect, inject, it } from "vitest";
import { TURNSTILE_SUBJECT } from "../../src/access/token.ts";
import { newBody } from "../support/bodies.ts";
import { TOKEN_SECRET } from "../support/vars.ts";
import { hookAt } from "../support/webhooks/hook.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { environment, fetchWorker, upstreamCalls } from "../support/worker/harness.ts";
import { jobsWithoutPauses } from "../support/worker/job-workflows.ts";
import { newToken } from "../support/worker/token.ts";

const env = environment({ TOKEN_SECRET });

quietAndFresh();

// Registered after the hooks above, so that jobs end before the reset.
jobsWithoutPauses();

/** A repetition must have the same webhook URL. */
const HOOK = hookAt(inject("receiverUrl")).url;

type Headers = Record<string, string>;

/** Returns the headers of a client without a token, in a network. */
async function network(name: string): Promise<Headers> {
  return { "cf-connecting-ip": name };
}

/** Returns the headers of a client with a new token. All clients are in one network. */
async function holder(sub: string): Promise<Headers> {
  return { ...(await newToken(sub)).headers, "cf-connecting-ip": "192.0.2.7" };
}

/** The ways of a request that an Idempotency-Key names. */
const WAYS = {
  generation: (body: object, headers: Headers) =>
    send("/v1/images/generations", body, { ...headers, "cache-control": "no-store" }),
  job: (body: object, headers: Headers) => {
    const named = { ...body, webhook_url: HOOK };
    return send("/v1/images/generations", named, { ...headers, prefer: "respond-async" });
  },
  batch: (body: object, headers: Headers) =>
    send("/v1/images/batches", { requests: [{ custom_id: "a", body }] }, headers),
};

async function send(path: string, body: object, headers: Headers) {
  const init = {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  };
  const response = await fetchWorker(path, env, init);
  const { id, job } = await response.json<{ id?: string; job?: string }>();
  return { status: response.status, id: job ?? id };
}

describe.each(Object.entries(WAYS))("the Idempotency-Key of a %s", (_, request) => {
  it.each([
    ["anonymous networks", () => network("192.0.2.1"), () => network("192.0.2.2")],
    [
      "visitors with Turnstile tokens",
      () => holder(TURNSTILE_SUBJECT),
      () => holder(TURNSTILE_SUBJECT),
    ],
    ["subjects", () => holder("a"), () => holder("b")],
    ["an anonymous caller and a token", () => network("192.0.2.7"), () => holder("a")],
  ])("neither takes nor reads the same key of another caller: %s", async (__, first, second) => {
    const [one, other] = [await first(), await second()];
    const keys = [crypto.randomUUID(), crypto.randomUUID()].map((key) => ({
      "idempotency-key": key,
    }));
    const body = newBody();
    const original = await request(body, { ...one, ...keys[0] });
    const read = await request(body, { ...other, ...keys[0] });
    expect(read.status).toBe(original.status);
    expect(read.id).not.toBe(original.id);
    await request(newBody(), { ...one, ...keys[1] });
    expect((await request(newBody(), { ...other, ...keys[1] })).status).toBe(original.status);
  });

  it.each([
    ["of the same network", () => network("192.0.2.1"), () => network("192.0.2.1")],
    ["with another token of the same subject", () => holder("a"), () => holder("a")],
  ])("returns the same to a caller %s", async (__, first, second) => {
    const key = { "idempotency-key": crypto.randomUUID() };
    const body = newBody();
    const original = await request(body, { ...(await first()), ...key });
    const repeated = await request(body, { ...(await second()), ...key });
    expect(repeated.id).toBe(original.id);
    expect((await request(newBody(), { ...(await second()), ...key })).status).toBe(422);
  });
});

describe("the image of a request with `no-store` and an Idempotency-Key", () => {
  it("is generated again for the same key and request of another network", async () => {
    const body = newBody();
    const key = { "idempotency-key": crypto.randomUUID() };
    await WAYS.generation(body, { ...(await network("192.0.2.1")), ...key });
    await WAYS.generation(body, { ...(await network("192.0.2.2")), ...key });
    expect(await upstreamCalls(body.prompt)).toBe(2);
  });
});
