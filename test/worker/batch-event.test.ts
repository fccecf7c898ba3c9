import { runInDurableObject } from "cloudflare:test";
import { describe, expect, inject, it } from "vitest";
import { hookAt } from "../support/webhooks/hook.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { environment, fetchWorker, ORIGIN } from "../support/worker/harness.ts";
import { storeJobs } from "../support/worker/stored-jobs.ts";

quietAndFresh();

const EVENT_BYTES = 1_000_000;
/** The platform's limit for one stored value. A character may take two bytes. */
const VALUE_BYTES = 2_000_000;

/** Returns the record of a generation with ten images, each with a long revised prompt. */
function longRecord(chars: number) {
  return {
    version: 1 as const,
    id: `gen_${crypto.randomUUID()}`,
    created: 1_795_579_918,
    model: "dall-e-2",
    resolved: { size: "256x256" },
    usage: { input_tokens: 0, output_tokens: 0, total_tokens: 0 },
    images: Array.from({ length: 10 }, () => ({
      type: "png" as const,
      bytes: 7,
      revised_prompt: "a".repeat(chars),
    })),
  };
}

describe("a batch of 60 jobs with ten long revised prompts each", () => {
  it.each([
    ["that an upstream may send", 5000],
    ["that an earlier version stored without a limit", 100_000],
  ])("ends with an event that can be stored, for prompts %s", async (_, chars) => {
    const customIds = Array.from({ length: 60 }, (__, index) => `nr ${index}`);
    const webhookUrl = hookAt(inject("receiverUrl")).url;
    const { object, id, jobs } = await storeJobs({ customIds, webhookUrl });
    for (const job of jobs) await object.finish(job, { record: longRecord(chars) });
    const view = await object.batch(id);
    expect(view).toMatchObject({ status: "completed", request_counts: { completed: 60 } });
    const delivery = await object.delivery(String(jobs.at(-1)));
    expect(new TextEncoder().encode(delivery?.body).length).toBeLessThanOrEqual(EVENT_BYTES);
    expect(JSON.parse(delivery?.body ?? "null")).toMatchObject({
      type: "batch.completed",
      data: {
        id,
        results: jobs.map((job, index) => ({
          custom_id: `nr ${index}`,
          job,
          status: "completed",
        })),
      },
    });
    const sizes = await runInDurableObject(object, (__, { storage }) =>
      [...storage.kv.list()].map(([, value]) => 2 * JSON.stringify(value).length),
    );
    expect(Math.max(...sizes)).toBeLessThan(VALUE_BYTES);
  });

  it("refers to the URL of the batch, which returns all of its results", async () => {
    const customIds = Array.from({ length: 60 }, (_, index) => `nr ${index}`);
    const webhookUrl = hookAt(inject("receiverUrl")).url;
    const { object, id, jobs } = await storeJobs({ customIds, webhookUrl });
    for (const job of jobs) await object.finish(job, { record: longRecord(5000) });
    const delivery = await object.delivery(String(jobs.at(-1)));
    const { data } = JSON.parse(delivery?.body ?? "null") as {
      data: { url: string; results_truncated: boolean; results: { response?: object }[] };
    };
    expect(data.results_truncated).toBe(true);
    expect(data.url).toBe(`${ORIGIN}/v1/images/batches/${id}`);
    expect(data.results[0]).toHaveProperty("response");
    expect(data.results[59]).not.toHaveProperty("response");
    const { results } = await (
      await fetchWorker(data.url, environment())
    ).json<{ results: { response?: { data: object[] } }[] }>();
    expect(results.map(({ response }) => response?.data.length)).toEqual(Array(60).fill(10));
  });
});
