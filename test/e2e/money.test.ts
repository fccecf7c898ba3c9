import { describe, expect, it } from "vitest";
import { newPrompt, SMALL } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { read, startStage, usageToday, type ErrorBody, type Stage } from "../support/stage.ts";

/** The limits of a gateway without variables. */
const DEFAULTS = {
  BUDGET_USD_PER_DAY: undefined,
  GENERATIONS_PER_MINUTE: undefined,
  MAX_BLOCKS_PER_CALLER_PER_DAY: undefined,
  MAX_CONCURRENT_PER_CALLER: undefined,
};

/** An image of about 0.13 USD. */
const HIGH = {
  model: "gpt-image-1.5",
  quality: "high",
  size: "1024x1024",
  output_format: "webp",
  response_format: "url",
} as const;

function postFrom(stage: Stage, address: string, body: object): Promise<Response> {
  return stage.post(body, { "cf-connecting-ip": address });
}

/** Returns the status, the code and the seconds until a retry of a response that is an error. */
async function errorOf(response: Response): Promise<unknown[]> {
  const { error } = await read<ErrorBody>(response);
  const retryAfter = response.headers.get("retry-after");
  return [response.status, error.code, retryAfter === null ? null : Number(retryAfter)];
}

const stage = startStage(DEFAULTS);

describe("one address", () => {
  it("with slow and with rejected requests does not stop another address", async () => {
    const [eva, other] = ["203.0.113.1", "203.0.113.2"];
    for (const n of [10, 10]) {
      const response = await postFrom(stage, eva, { ...HIGH, n, prompt: newPrompt() });
      expect(response.headers.get("x-should-retry")).toBe("false");
      const { error } = await read<ErrorBody>(response.clone());
      expect(error.message).toMatch(/up to 1\.3\d+ USD.* 1 USD \(BUDGET_USD_PER_DAY_PER_CALLER\)/);
      expect(await errorOf(response)).toEqual([429, "budget_exceeded", null]);
    }
    const slow = [
      { ...HIGH, n: 4, prompt: newPrompt("[upstream hold]") },
      { ...HIGH, n: 3, prompt: newPrompt("[upstream hold]") },
    ];
    const held = slow.map((body) => postFrom(stage, eva, body));
    await eventually(() => expect(slow.map(({ prompt }) => stage.calls(prompt))).toEqual([1, 1]));
    // Its share is reserved, not spent.
    const third = await postFrom(stage, eva, { ...HIGH, prompt: newPrompt() });
    expect(await errorOf(third)).toEqual([429, "rate_limit_exceeded", 5]);
    expect((await postFrom(stage, other, { ...HIGH, n: 7, prompt: newPrompt() })).status).toBe(200);
    await Promise.all(slow.map(({ prompt }) => stage.release(prompt)));
    expect((await Promise.all(held)).map(({ status }) => status)).toEqual([200, 200]);
  });

  it("that repeats requests which the upstream rejects holds nothing afterwards", async () => {
    const address = "203.0.113.3";
    for (let sent = 0; sent < 10; sent += 1) {
      const body = { ...HIGH, n: 7, prompt: newPrompt("[upstream status=400]") };
      expect((await postFrom(stage, address, body)).status).toBe(400);
    }
    expect((await postFrom(stage, address, { ...HIGH, prompt: newPrompt() })).status).toBe(200);
  });

  it("with seven paid images ends its own share only", async () => {
    const [eva, other] = ["203.0.113.4", "203.0.113.5"];
    for (let paid = 0; paid < 7; paid += 1) {
      const response = await postFrom(stage, eva, { ...HIGH, prompt: newPrompt() });
      expect(response.status).toBe(200);
    }
    const eighth = await postFrom(stage, eva, { ...HIGH, prompt: newPrompt() });
    const [status, code, seconds] = await errorOf(eighth);
    expect([status, code]).toEqual([429, "budget_exceeded"]);
    expect(Number(seconds)).toBeGreaterThan(0);
    expect((await postFrom(stage, other, { ...HIGH, prompt: newPrompt() })).status).toBe(200);
  });

  it("starts at most 20 generations a minute, and receives the seconds until the next", async () => {
    const address = "203.0.113.6";
    const outcomes: Response[] = [];
    for (let sent = 0; sent < 21; sent += 1) {
      outcomes.push(await postFrom(stage, address, { ...SMALL, prompt: newPrompt() }));
    }
    const last = outcomes.at(-1);
    expect(outcomes.filter(({ status }) => status === 200)).toHaveLength(20);
    expect(last?.headers.get("ratelimit")).toMatch(/^"generations";r=0;t=\d+$/);
    expect(Number(last?.headers.get("retry-after"))).toBeLessThanOrEqual(60);
    const cached = { ...SMALL, prompt: newPrompt() };
    expect((await postFrom(stage, "203.0.113.7", cached)).status).toBe(200);
    expect((await postFrom(stage, address, cached)).status).toBe(200);
  });
});

const small = startStage({ BUDGET_USD_PER_DAY: "0.5", BUDGET_USD_PER_DAY_PER_CALLER: "0.5" });

describe("a budget of 0.50 USD", () => {
  it("pays for three images of 0.13 USD if a chat completion reports one token for each", async () => {
    const statuses: number[] = [];
    for (let sent = 0; sent < 60; sent += 1) {
      const body = { ...HIGH, prompt: newPrompt("[upstream dialect=chat-data tokens=1]") };
      statuses.push((await postFrom(small, `203.0.113.${sent}`, body)).status);
    }
    expect(statuses).toEqual([200, 200, 200, ...Array<number>(57).fill(429)]);
    const usage = await usageToday(small);
    expect(usage?.images).toBe(3);
    expect(usage?.spent_usd).toBeGreaterThan(3 * 0.13);
    expect(usage?.spent_usd).toBeLessThanOrEqual(0.5);
  });
});
