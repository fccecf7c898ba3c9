import { describe, expect, inject, it } from "vitest";
import type { BatchView } from "../../src/contract/batch.ts";
import { eventually } from "../support/eventually.ts";
import { eventIn, hookAt } from "../support/webhooks/hook.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { environment, errorOf, fetchWorker, upstreamCalls } from "../support/worker/harness.ts";
import { jobsWithoutPauses } from "../support/worker/job-workflows.ts";
import { newPrompt, SMALL } from "../support/bodies.ts";

const env = environment();
const BATCHES = "/v1/images/batches";

quietAndFresh();

// Registered after the hooks above, so that jobs end before the reset.
const jobs = jobsWithoutPauses();

function request(customId: string, prompt: string) {
  return { custom_id: customId, body: { ...SMALL, prompt } };
}

function submit(body: unknown, headers: Record<string, string> = {}, environment = env) {
  const init = {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  };
  return fetchWorker(BATCHES, environment, init);
}

async function poll(id: string): Promise<BatchView> {
  const response = await fetchWorker(`${BATCHES}/${id}`, env);
  expect(response.status).toBe(200);
  return response.json();
}

/** Submits a batch and returns it after all of its jobs have ended. */
async function run(body: object): Promise<BatchView> {
  const response = await submit(body);
  expect(response.status).toBe(202);
  const { id } = await response.json<BatchView>();
  await jobs.done();
  return poll(id);
}

describe("a batch", () => {
  it("responds 202 with its URL while its requests are still in progress", async () => {
    const response = await submit({
      requests: [request("a", newPrompt("[upstream delay=500]"))],
    });
    const batch = await response.json<BatchView>();
    expect(response.status).toBe(202);
    expect(response.headers.get("location")).toBe(`/v1/images/batches/${batch.id}`);
    expect(batch).toMatchObject({
      id: expect.stringMatching(/^batch_[\w-]{59}$/),
      object: "image.batch",
      status: "in_progress",
      request_counts: { total: 1, completed: 0, failed: 0 },
      results: [{ custom_id: "a", job: expect.stringMatching(/^job_/) }],
    });
    expect(batch).not.toHaveProperty("delivery");
    await eventually(async () => expect((await poll(batch.id)).status).toBe("completed"));
  });

  it("lists its results in the order of its requests, and delivers one webhook without image data", async () => {
    const hook = hookAt(inject("receiverUrl"));
    const prompts = [
      newPrompt("[upstream delay=200]"),
      newPrompt("[upstream status=400 code=moderation_blocked]"),
      newPrompt(),
    ];
    const requests = prompts.map((prompt, index) => request(`nr ${index}`, prompt));
    const batch = await run({ requests, webhook_url: hook.url });
    expect(batch).toMatchObject({
      status: "completed",
      request_counts: { total: 3, completed: 2, failed: 1 },
      results: [
        {
          custom_id: "nr 0",
          status: "completed",
          response: { data: [{ url: expect.any(String) }] },
        },
        { custom_id: "nr 1", status: "failed", error: { code: "moderation_blocked" } },
        { custom_id: "nr 2", status: "completed" },
      ],
      delivery: { status: "delivered" },
    });
    const received = await hook.received();
    expect(received).toHaveLength(1);
    const { delivery: _, ...data } = batch;
    expect(eventIn(received[0])).toMatchObject({ type: "batch.completed", data });
    expect(received[0]?.body).not.toContain("b64_json");
  });

  it("shows each result as soon as its job ends", async () => {
    const requests = [
      request("fast", newPrompt()),
      request("slow", newPrompt("[upstream delay=1000]")),
    ];
    const { id } = await (await submit({ requests })).json<BatchView>();
    await eventually(async () => {
      expect(await poll(id)).toMatchObject({
        status: "in_progress",
        request_counts: { total: 2, completed: 1, failed: 0 },
        results: [{ status: "completed", response: {} }, { status: "in_progress" }],
      });
    });
    await eventually(async () => expect((await poll(id)).status).toBe("completed"));
  });

  it("calls the upstream once for ten identical requests", async () => {
    const prompt = newPrompt();
    const requests = Array.from({ length: 10 }, (_, index) => request(String(index), prompt));
    const batch = await run({ requests });
    expect(batch.request_counts).toEqual({ total: 10, completed: 10, failed: 0, cancelled: 0 });
    expect(new Set(batch.results.map(({ response }) => response?.id)).size).toBe(1);
    expect(await upstreamCalls(prompt)).toBe(1);
  });

  it(
    "completes 100 requests with one webhook and one upstream call for each prompt",
    { timeout: 60_000 },
    async () => {
      const hook = hookAt(inject("receiverUrl"));
      const prompts = Array.from({ length: 5 }, () => newPrompt());
      const requests = Array.from({ length: 20 }, () => prompts)
        .flat()
        .map((prompt, index) => request(String(index), prompt));
      const batch = await run({ requests, webhook_url: hook.url });
      expect(batch.request_counts).toEqual({ total: 100, completed: 100, failed: 0, cancelled: 0 });
      expect(await hook.received()).toHaveLength(1);
      const calls = await Promise.all(prompts.map((prompt) => upstreamCalls(prompt)));
      expect(new Set(calls)).toEqual(new Set([1]));
      const job = `/v1/images/generations/${batch.results[99]?.job}`;
      const polled = await fetchWorker(`${job}?response_format=url`, env);
      expect(await polled.json()).toMatchObject({ data: batch.results[99]?.response?.data });
    },
  );

  it("is returned again for the same Idempotency-Key, which is rejected with 422 for other requests", async () => {
    const key = { "idempotency-key": crypto.randomUUID() };
    const requests = [request("a", newPrompt())];
    const responses = await Promise.all([submit({ requests }, key), submit({ requests }, key)]);
    const batches = await Promise.all(responses.map((each) => each.json<BatchView>()));
    expect(batches[0]?.id).toBe(batches[1]?.id);
    const other = await submit({ requests: [request("a", newPrompt())] }, key);
    expect(await errorOf(other)).toEqual([422, "idempotency_key_reused", null]);
    const renamed = await submit(
      { requests: requests.map(({ body }) => ({ custom_id: "b", body })) },
      key,
    );
    expect(await errorOf(renamed)).toEqual([422, "idempotency_key_reused", null]);
  });
});

describe("an invalid batch request", () => {
  const good = request("a", "a");

  it.each([
    [[], null, "invalid_json"],
    [{}, "requests", "missing_required_parameter"],
    [{ requests: [] }, "requests", "invalid_value"],
    [{ requests: "a" }, "requests", "invalid_type"],
    [{ requests: Array.from({ length: 101 }, () => good) }, "requests", "invalid_value"],
    [{ requests: [good], model: "dall-e-2" }, "model", "unknown_parameter"],
    [{ requests: [good, 7] }, "requests[1]", "invalid_json"],
    [{ requests: [good, { body: {} }] }, "requests[1].custom_id", "missing_required_parameter"],
    [{ requests: [good, good] }, "requests[1].custom_id", "invalid_value"],
    [{ requests: [{ ...good, method: "POST" }] }, "requests[0].method", "unknown_parameter"],
    [{ requests: [{ custom_id: "a" }] }, "requests[0].body", "missing_required_parameter"],
    [{ requests: [{ custom_id: "a", body: 7 }] }, "requests[0].body", "invalid_json"],
    [
      { requests: [{ custom_id: "a", body: { ...SMALL, prompt: "a", size: "1x1" } }] },
      "requests[0].body.size",
      "invalid_value",
    ],
    [
      { requests: [{ custom_id: "a", body: { prompt: "a", webhook_url: "https://a.b/" } }] },
      "requests[0].body.webhook_url",
      "unknown_parameter",
    ],
    [
      { requests: [{ custom_id: "a", body: { prompt: "a", stream: true } }] },
      "requests[0].body.stream",
      "unsupported_parameter",
    ],
    [{ requests: [good], webhook_url: "https://evil.example/" }, "webhook_url", "invalid_value"],
  ])("is rejected with 400 if its body is %j: parameter %s, code %s", async (body, param, code) => {
    expect(await errorOf(await submit(body))).toEqual([400, code, param]);
  });

  it("is rejected with 413 if its body exceeds 16 times the limit of a single request", async () => {
    const padding = { ...good, padding: "a".repeat(16 * 64 * 1024) };
    expect(await errorOf(await submit({ requests: [padding] }))).toEqual([
      413,
      "request_too_large",
      null,
    ]);
  });

  it("is rejected with 401 without a token if `ACCESS=token`", async () => {
    const closed = environment({ ACCESS: "token", TOKEN_SECRET: "x".repeat(32) });
    expect(await errorOf(await submit({ requests: [good] }, {}, closed))).toEqual([
      401,
      "missing_token",
      null,
    ]);
  });

  it.each(["batch_x", `batch_${"A".repeat(59)}`])(
    "is rejected with 404 if it reads the unknown batch %s",
    async (id) => {
      const response = await fetchWorker(`${BATCHES}/${id}`, env);
      expect(await errorOf(response)).toEqual([404, "batch_not_found", null]);
    },
  );
});
