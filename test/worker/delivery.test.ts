import { describe, expect, inject, it } from "vitest";
import { attemptDelivery, pauseSeconds } from "../../src/jobs/delivery.ts";
import { waitSeconds } from "../../src/jobs/workflow.ts";
import { hookAt } from "../support/webhooks/hook.ts";
import { testConfig } from "../support/worker/harness.ts";

describe("the pause after a delivery attempt", () => {
  it("follows the documented schedule and is undefined from the eighth attempt on", () => {
    const pauses = Array.from({ length: 9 }, (_, index) => pauseSeconds(index + 1, undefined));
    const [minute, hour] = [60, 3600];
    expect(pauses).toEqual([
      5,
      5 * minute,
      30 * minute,
      2 * hour,
      5 * hour,
      10 * hour,
      10 * hour,
      undefined,
      undefined,
    ]);
  });

  it.each([
    [1, 0, 5],
    [1, 60, 60],
    [2, 60, 300],
    [1, 86_400, 36_000],
    [8, 60, undefined],
  ])("lasts, after attempt %i with Retry-After %i, %s seconds", (attempt, retryAfter, pause) => {
    expect(pauseSeconds(attempt, retryAfter)).toBe(pause);
  });
});

describe("the wait of a job that cannot start yet", () => {
  it("doubles up to one minute, minus up to half at random", () => {
    const longestWaits = [1, 2, 3, 4, 5, 100].map((attempt) => waitSeconds(attempt, 0));
    expect(longestWaits).toEqual([5, 10, 20, 40, 60, 60]);
    expect(waitSeconds(5, 1)).toBe(30);
  });
});

describe("attemptDelivery", () => {
  const config = testConfig();
  const attempt = (plan: string, timeoutMs?: number) =>
    attemptDelivery(
      { url: hookAt(inject("receiverUrl"), plan).url, eventId: "evt_1", body: "{}" },
      config,
      timeoutMs,
    );

  it.each([
    ["200", "delivered", 200],
    ["204", "delivered", 204],
    ["302-elsewhere", "failed", 302],
    ["404", "failed", 404],
    ["410", "gone", 410],
    ["503", "failed", 503],
  ])("reports the response %s as `%s` with status %i", async (plan, outcome, status) => {
    expect(await attempt(plan)).toMatchObject({ outcome, status, retryAfterSeconds: undefined });
  });

  it("returns the Retry-After of a 429 response", async () => {
    expect(await attempt("429+30")).toMatchObject({ outcome: "failed", retryAfterSeconds: 30 });
  });

  it.each(["hang", "late"])(
    "reports `timeout` if the receiver does not complete its response in time: %s",
    async (plan) => {
      expect(await attempt(plan, 100)).toMatchObject({ outcome: "timeout", status: undefined });
    },
  );

  it("waits for a slow response within the timeout", async () => {
    expect(await attempt("late", 10_000)).toMatchObject({ outcome: "delivered", status: 200 });
  });

  it("reports a cut connection as `unreachable`", async () => {
    expect(await attempt("cut")).toMatchObject({ outcome: "unreachable", status: undefined });
  });

  it("reports `not_allowed` and sends nothing to a forbidden host or without a signing secret", async () => {
    const hook = hookAt(inject("receiverUrl"));
    const delivery = { url: hook.url, eventId: "evt_1", body: "{}" };
    for (const vars of [{ WEBHOOK_HOSTS: "hooks.example.com" }, { WEBHOOK_SIGNING_SECRET: "" }]) {
      const result = await attemptDelivery(delivery, testConfig(vars));
      expect(result.outcome).toBe("not_allowed");
    }
    expect(await hook.received()).toEqual([]);
  });
});
