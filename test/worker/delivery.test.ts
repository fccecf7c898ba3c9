import { describe, expect, inject, it } from "vitest";
import { attemptDelivery, pauseSeconds } from "../../src/jobs/delivery.ts";
import { waitSeconds } from "../../src/jobs/workflow.ts";
import { hookAt } from "../support/webhooks/hook.ts";
import { testConfig } from "../support/worker/harness.ts";

describe("the pauses between attempts", () => {
  it("are the contract's, and then it is over", () => {
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
  ])("after attempt %i, asked for %i seconds, is %s", (attempt, asked, pause) => {
    expect(pauseSeconds(attempt, asked)).toBe(pause);
  });
});

describe("the waits of a job that may not begin", () => {
  it("double to a minute, with up to half of it taken off at random", () => {
    const longest = [1, 2, 3, 4, 5, 100].map((attempt) => waitSeconds(attempt, 0));
    expect(longest).toEqual([5, 10, 20, 40, 60, 60]);
    expect(waitSeconds(5, 1)).toBe(30);
  });
});

describe("an attempt to call back", () => {
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
  ])("answered with %s has %s", async (plan, outcome, status) => {
    expect(await attempt(plan)).toMatchObject({ outcome, status, retryAfterSeconds: undefined });
  });

  it("hears how long the receiver wants to be left alone", async () => {
    expect(await attempt("429+30")).toMatchObject({ outcome: "failed", retryAfterSeconds: 30 });
  });

  it.each(["hang", "late"])("does not wait for ever: %s", async (plan) => {
    expect(await attempt(plan, 100)).toMatchObject({ outcome: "timeout", status: undefined });
  });

  it("waits as long as it may", async () => {
    expect(await attempt("late", 10_000)).toMatchObject({ outcome: "delivered", status: 200 });
  });

  it("may find nobody", async () => {
    expect(await attempt("cut")).toMatchObject({ outcome: "unreachable", status: undefined });
  });

  it("is not made to a host that is no longer allowed, nor unsigned", async () => {
    const hook = hookAt(inject("receiverUrl"));
    const delivery = { url: hook.url, eventId: "evt_1", body: "{}" };
    for (const vars of [{ WEBHOOK_HOSTS: "hooks.example.com" }, { WEBHOOK_SIGNING_SECRET: "" }]) {
      const made = await attemptDelivery(delivery, testConfig(vars));
      expect(made.outcome).toBe("not_allowed");
    }
    expect(await hook.received()).toEqual([]);
  });
});
