import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { usageOf } from "../../src/access/accounts.ts";
import { Budget } from "../../src/access/budget.ts";
import { signQuery } from "../../src/access/signed-url.ts";
import { nowSeconds } from "../../src/lib/clock.ts";
import { newPrompt } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { TOKEN_SECRET } from "../support/vars.ts";
import { hookAt } from "../support/webhooks/hook.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { copied, environment, fetchWorker, post, testConfig } from "../support/worker/harness.ts";
import { jobsWithoutPauses } from "../support/worker/job-workflows.ts";
import { skipWaits } from "../support/worker/pass-time.ts";

const log = quietAndFresh({ expectsErrors: true });

// Registered after the hooks above, so that jobs end before the reset.
const jobs = jobsWithoutPauses();

const unhandled: unknown[] = [];
const recordUnhandled = (event: PromiseRejectionEvent) => void unhandled.push(event.reason);

beforeEach(() => {
  unhandled.length = 0;
  addEventListener("unhandledrejection", recordUnhandled);
});

afterEach(() => removeEventListener("unhandledrejection", recordUnhandled));

const env = environment({ TOKEN_SECRET });

/** Ways of using the gateway. Each sends a request whose image is cached. */
const WAYS: Record<string, (body: { prompt: string }) => Promise<void>> = {
  "a request": async (body) => {
    const response = await post(body, {}, env);
    expect(response.headers.get("cache-status")).toMatch(/^darkroom; hit/);
  },
  "a signed image": async (body) => {
    const query = await signQuery({ ...body }, nowSeconds() + 3600, TOKEN_SECRET);
    const response = await fetchWorker(`/v1/images/generations?${query}`, env);
    expect(response.headers.get("cache-status")).toMatch(/^darkroom; hit/);
  },
  "a job": async (body) => {
    const { url } = hookAt(inject("receiverUrl"));
    const headers = { prefer: "respond-async" };
    expect((await post({ ...body, webhook_url: url }, headers, env)).status).toBe(202);
    await jobs.done();
  },
};

/** Returns the number of hits in the usage. */
async function countedHits(): Promise<number> {
  const { rows } = await usageOf(testConfig());
  return rows.reduce((sum, { hits }) => sum + hits, 0);
}

describe.each(Object.entries(WAYS))("the hits of %s", (_, hit) => {
  it.each([
    ["does not write", false],
    ["writes, and whose responses are lost", true],
  ])("are all counted, once, after an outage of the object that %s", async (_name, writes) => {
    const body = { model: "dall-e-2", size: "256x256", prompt: newPrompt() };
    await post(body, {}, env);
    await copied();
    skipWaits();
    const count: Budget["count"] = Reflect.get(Budget.prototype, "count");
    const outage = vi.spyOn(Budget.prototype, "count").mockImplementation(async function (
      this: Budget,
      ...args
    ) {
      if (writes) await count.apply(this, args);
      throw new Error("the object failed");
    });
    for (let index = 0; index < 3; index += 1) await hit(body);
    await eventually(() => {
      expect(log.errors.filter((line) => line.includes("usage_write_failed"))).toHaveLength(3);
    });
    expect(outage.mock.calls.length).toBeGreaterThanOrEqual(6);
    outage.mockRestore();
    await hit(body);
    await eventually(async () => expect(await countedHits()).toBe(4));
    expect(unhandled).toEqual([]);
  });
});
