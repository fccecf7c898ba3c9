import { describe, expect, it } from "vitest";
import { reserveBudget, settleBudget, spentToday } from "../../src/access/accounts.ts";
import { LearnedTokens } from "../../src/access/learned-tokens.ts";
import { costOf } from "../../src/contract/pricing.ts";
import { parseImageRequest } from "../../src/contract/request.ts";
import { newPrompt } from "../support/bodies.ts";
import { accountNamed, subject, withTables } from "../support/worker/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { ADMIN, environment, fetchWorker, post, testConfig } from "../support/worker/harness.ts";

quietAndFresh({ expectsErrors: true });

const ANN = subject("ann");
const BOB = { ...subject("bob"), token: { jti: "tok_bob", budget: 1_000_000 } };
const ROW = "some parameters";
const BOUND = { row: ROW, tokens: 100, microPerToken: 2 };

/** Calls a function with the learned tokens of a new account. */
function withLearned<Result>(
  name: string,
  use: (learned: LearnedTokens) => Result,
): Promise<Result> {
  return withTables(accountNamed(name), (tables) => use(new LearnedTokens(tables)));
}

/** Settles a generation for which the upstream has reported a number of tokens. */
async function report(tokens: number, config = testConfig()): Promise<void> {
  const id = `gen_${crypto.randomUUID()}`;
  await reserveBudget(config, ANN, id, 10);
  const reported = { row: ROW, tokens };
  await settleBudget(config, ANN, id, { spent: 10, model: "m", images: 1, reported });
}

function spentBy(account: string): Promise<number> {
  return accountNamed(account).spentToday();
}

describe("learned tokens", () => {
  it("are the most of the days since a day, for each row", async () => {
    await withLearned("most", (learned) => {
      learned.add({ row: "a", tokens: 5, day: "2026-11-01" });
      learned.add({ row: "a", tokens: 3, day: "2026-11-02" });
      learned.add({ row: "a", tokens: 4, day: "2026-11-02" });
      learned.add({ row: "b", tokens: 9, day: "2026-11-02" });
      expect(learned.most("a", "2026-11-01")).toBe(5);
      expect(learned.most("a", "2026-11-02")).toBe(4);
      expect(learned.most("c", "2026-11-01")).toBe(0);
      expect(learned.since("2026-11-01")).toEqual([
        { row: "a", tokens: 5, day: "2026-11-01" },
        { row: "b", tokens: 9, day: "2026-11-02" },
      ]);
      learned.deleteAll();
      expect(learned.since("2026-11-01")).toEqual([]);
    });
  });

  it("replace the row with the oldest report if there are 500", async () => {
    await withLearned("bounded", (learned) => {
      learned.add({ row: "oldest", tokens: 1, day: "2026-11-01" });
      for (let index = 0; index < 500; index += 1) {
        learned.add({ row: `row ${index}`, tokens: 1, day: "2026-11-02" });
      }
      const rows = learned.since("2026-11-01").map(({ row }) => row);
      expect(rows).toHaveLength(500);
      expect(rows).not.toContain("oldest");
      learned.add({ row: "newest", tokens: 1, day: "2026-11-02" });
      expect(learned.most("newest", "2026-11-01")).toBe(1);
      learned.add({ row: "the last one by name", tokens: 1, day: "2026-11-02" });
      expect(learned.most("the last one by name", "2026-11-01")).toBe(1);
      expect(learned.since("2026-11-01")).toHaveLength(500);
    });
  });
});

describe("a reservation", () => {
  it("grows in every account with the tokens that an image has had", async () => {
    const config = testConfig();
    await report(300);
    expect((await reserveBudget(config, BOB, "gen_b", 1000, BOUND)).failure).toBeUndefined();
    const raised = 1000 + (300 - BOUND.tokens) * BOUND.microPerToken;
    expect(await spentToday(config)).toBe(10 + raised);
    expect(await spentBy("caller/subject/bob")).toBe(raised);
    const ofToken = { ...BOB, account: "subject/other" };
    const rest = 1_000_000 - raised;
    expect((await reserveBudget(config, ofToken, "gen_c", rest + 1)).failure).toMatchObject({
      code: "rate_limit_exceeded",
      reason: "reserved",
    });
    expect((await reserveBudget(config, ofToken, "gen_d", rest)).failure).toBeUndefined();
  });

  it("does not shrink if images have had fewer tokens", async () => {
    const config = testConfig();
    await report(50);
    await reserveBudget(config, BOB, "gen_b", 1000, BOUND);
    expect(await spentToday(config)).toBe(10 + 1000);
    expect(await spentBy("caller/subject/bob")).toBe(1000);
  });

  it.each([
    ["of the caller", { BUDGET_USD_PER_DAY_PER_CALLER: "0.0012" }],
    ["of the gateway", { BUDGET_USD_PER_DAY: "0.0012" }],
  ])(
    "is rejected if the budget %s does not cover the larger amount, and reserves nothing",
    async (_, vars) => {
      const config = testConfig(vars);
      await report(300, config);
      expect((await reserveBudget(config, BOB, "gen_b", 1000, BOUND)).failure).toMatchObject({
        code: "budget_exceeded",
      });
      expect(await spentToday(config)).toBe(10);
      expect(await spentBy("caller/subject/bob")).toBe(0);
    },
  );

  it("is that of the tables in an account of version 0.1.0, which returns the outcome alone", async () => {
    const reserved: number[] = [];
    const older = {
      idFromName: (name: string) => name,
      get: () => ({
        reserve(_: string, amount: number) {
          reserved.push(amount);
          return Promise.resolve("reserved");
        },
      }),
    };
    const config = testConfig({ BUDGET: older });
    expect((await reserveBudget(config, ANN, "gen_1", 1000, BOUND)).failure).toBeUndefined();
    expect(reserved).toEqual([1000, 1000]);
  });
});

interface Diagnostics {
  learned_tokens: unknown[];
}

async function learnedTokens(): Promise<unknown[]> {
  const response = await fetchWorker("/v1/diagnostics", environment(), { headers: ADMIN });
  return (await response.json<Diagnostics>()).learned_tokens;
}

describe("the diagnostics", () => {
  it("show the tokens that the upstream reports, and reset them", async () => {
    const body = { model: "gpt-image-2", size: "1024x640", quality: "low" };
    const config = testConfig();
    const { spec } = parseImageRequest({ ...body, prompt: "a" }, config, Date.now());
    const table = costOf(spec, 0, config).tokenBound()?.tokens ?? 0;
    const tokens = 2 * table;
    await post({ ...body, prompt: newPrompt(`[upstream tokens=${tokens}]`) });
    const row = {
      ...body,
      complexity: null,
      output_format: "png",
      frame_count: null,
      output_tokens: tokens,
      day: new Date().toISOString().slice(0, 10),
    };
    await eventually(async () => expect(await learnedTokens()).toEqual([row]));
    const path = "/v1/diagnostics/learned_tokens";
    expect((await fetchWorker(path, environment(), { method: "DELETE" })).status).toBe(401);
    const deleted = await fetchWorker(path, environment(), { method: "DELETE", headers: ADMIN });
    expect(deleted.status).toBe(204);
    expect(await learnedTokens()).toEqual([]);
  });

  it("are the same at /v1/doctor, their older path", async () => {
    const [current, older] = await Promise.all(
      ["/v1/diagnostics", "/v1/doctor"].map(async (path) => {
        const response = await fetchWorker(path, environment(), { headers: ADMIN });
        return Object.keys(await response.json<object>());
      }),
    );
    expect(older).toEqual(current);
  });
});
