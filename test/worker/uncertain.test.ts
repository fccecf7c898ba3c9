import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import {
  releaseUncertain,
  reserveBudget,
  settleBudget,
  spentToday,
  usageOf,
  type ChargedAccounts,
} from "../../src/access/accounts.ts";
import { dayOf, nowSeconds } from "../../src/lib/clock.ts";
import { newPrompt, SMALL } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import {
  accountNamed,
  accountOfCaller,
  EVERYBODY,
  network,
  runAlarm,
  statesOf,
  subject,
  withTables,
} from "../support/worker/accounts.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  ADMIN,
  bindings,
  environment,
  errorOf,
  fetchWorker,
  post,
  testConfig,
} from "../support/worker/harness.ts";
import { setClockAhead } from "../support/worker/pass-time.ts";

quietAndFresh({ expectsErrors: true });

const EVA = network("192.0.2.1");
const ANN: ChargedAccounts = { ...subject("ann"), token: { jti: "tok_ann", budget: 1_000_000 } };
const DAY_SECONDS = 24 * 60 * 60;

interface UsageBody {
  uncertain_usd: number;
  spent_today_usd: number;
  days: {
    day: string;
    spent_usd: number;
    uncertain_usd: number;
    callers: { caller: string; model: string; spent_usd: number; uncertain_usd: number }[];
  }[];
}

async function usage(): Promise<UsageBody> {
  const response = await fetchWorker("/v1/usage", environment(), { headers: ADMIN });
  return response.json<UsageBody>();
}

function release(query = "", headers: Record<string, string> = ADMIN): Promise<Response> {
  return fetchWorker(`/v1/usage/uncertain${query}`, environment(), { method: "DELETE", headers });
}

let ids = 0;
/** Charges a generation whose outcome is unknown. Returns its id. */
async function chargeUncertain(caller: ChargedAccounts, amount: number, model = "m") {
  ids += 1;
  const id = `gen_uncertain_${ids}`;
  const config = testConfig();
  expect((await reserveBudget(config, caller, id, amount)).failure).toBeUndefined();
  await settleBudget(config, caller, id, { spent: amount, model, images: 0, isUncertain: true });
  return id;
}

/** Charges a generation with an image. */
async function charge(caller: ChargedAccounts, amount: number): Promise<void> {
  ids += 1;
  const config = testConfig();
  await reserveBudget(config, caller, `gen_${ids}`, amount);
  await settleBudget(config, caller, `gen_${ids}`, { spent: amount, model: "m", images: 1 });
}

/** Returns the spent and reserved amounts of the gateway, of Eva, of Ann, and of Ann's token. */
async function sums(): Promise<number[]> {
  const life = await withTables(accountNamed("token/tok_ann"), (tables) =>
    tables.rows<{ amount: number }>("total", "SELECT amount FROM total WHERE day = 'life'"),
  );
  return [
    await spentToday(testConfig()),
    await accountOfCaller(EVA).spentToday(),
    await accountOfCaller(ANN).spentToday(),
    life[0]?.amount ?? 0,
  ];
}

describe("a generation whose outcome is unknown", () => {
  it.each([
    ["an invalid response", "[upstream answer=html]"],
    ["a cut body", "[upstream reset=body]"],
  ])("is charged as uncertain after %s, in the usage of its caller", async (_, directives) => {
    const response = await post({ ...SMALL, prompt: newPrompt(directives) });
    expect(response.status).toBe(502);
    await eventually(async () => {
      const { uncertain_usd: today, spent_today_usd: spent, days } = await usage();
      expect(today).toBeGreaterThan(0);
      expect(today).toBe(spent);
      expect(days).toMatchObject([
        {
          uncertain_usd: today,
          spent_usd: today,
          callers: [{ caller: "public", uncertain_usd: today, spent_usd: today }],
        },
      ]);
    });
    expect(await (await release()).json()).toMatchObject({ generations: 1, has_more: false });
    expect(await usage()).toMatchObject({ uncertain_usd: 0, spent_today_usd: 0 });
  });

  it("is not uncertain if the upstream generated nothing, or an image", async () => {
    await post({ ...SMALL, prompt: newPrompt("[upstream status=400]") });
    await post({ ...SMALL, prompt: newPrompt() });
    await eventually(async () => expect((await usage()).days[0]?.spent_usd).toBeGreaterThan(0));
    expect(await usage()).toMatchObject({ uncertain_usd: 0 });
  });

  it("uses up the share of its own network first, and another network can still start", async () => {
    const config = testConfig({ BUDGET_USD_PER_DAY: "0.001" });
    const settled = { model: "m", images: 0, isUncertain: true };
    await reserveBudget(config, EVA, "gen_1", 200);
    await settleBudget(config, EVA, "gen_1", { ...settled, spent: 200 });
    expect((await reserveBudget(config, EVA, "gen_2", 1)).failure).toMatchObject({
      code: "budget_exceeded",
    });
    expect(await reserveBudget(config, network("192.0.2.2"), "gen_3", 200)).toEqual({
      amount: 200,
    });
  });
});

describe("GET /v1/usage", () => {
  it("shows the uncertain part of each day and each row", async () => {
    await chargeUncertain(EVA, 100);
    setClockAhead(DAY_SECONDS);
    await chargeUncertain(EVA, 10);
    await chargeUncertain(ANN, 20);
    await chargeUncertain(ANN, 40, "other");
    await charge(ANN, 80);
    const { uncertain_usd: today, days } = await usage();
    expect(today).toBe(0.000_07);
    expect(days.map((day) => [day.spent_usd, day.uncertain_usd])).toEqual([
      [0.000_15, 0.000_07],
      [0.0001, 0.0001],
    ]);
    expect(
      days[0]?.callers.map((row) => [row.caller, row.model, row.spent_usd, row.uncertain_usd]),
    ).toEqual([
      ["ann", "m", 0.0001, 0.000_02],
      ["ann", "other", 0.000_04, 0.000_04],
      ["public", "m", 0.000_01, 0.000_01],
    ]);
  });
});

describe("DELETE /v1/usage/uncertain", () => {
  it("releases uncertain charges in every account, and no other charge, once", async () => {
    await chargeUncertain(EVA, 100);
    await chargeUncertain(ANN, 20);
    await chargeUncertain(ANN, 30);
    await charge(EVA, 7);
    await charge(ANN, 5);
    expect(await sums()).toEqual([162, 107, 55, 55]);
    const response = await release();
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      object: "usage.released",
      generations: 3,
      released_usd: 0.000_15,
      has_more: false,
    });
    expect(await sums()).toEqual([12, 7, 5, 5]);
    expect(await usage()).toMatchObject({
      uncertain_usd: 0,
      spent_today_usd: 0.000_012,
      days: [{ spent_usd: 0.000_012, uncertain_usd: 0 }],
    });
    expect(await (await release()).json()).toMatchObject({ generations: 0, released_usd: 0 });
    expect(await sums()).toEqual([12, 7, 5, 5]);
  });

  it("releases those of one day only if the query has a day", async () => {
    const first = dayOf(nowSeconds());
    await chargeUncertain(EVA, 100);
    setClockAhead(DAY_SECONDS);
    await chargeUncertain(EVA, 10);
    expect(await (await release(`?day=${first}`)).json()).toMatchObject({ released_usd: 0.0001 });
    expect(await usage()).toMatchObject({ uncertain_usd: 0.000_01, spent_today_usd: 0.000_01 });
    expect((await usage()).days.map((day) => day.spent_usd)).toEqual([0.000_01, 0]);
    expect(await (await release("?day=2026-01-01")).json()).toMatchObject({ generations: 0 });
  });

  it.each(["", "today", "2026-1-1", "2026-02-30", "2026-13-01", "2026-11-26T00:00"])(
    "rejects the day '%s'",
    async (day) => {
      const response = await release(`?day=${encodeURIComponent(day)}`);
      expect(await errorOf(response)).toEqual([400, "invalid_value", "day"]);
    },
  );

  it.each([
    [{}, "missing_token"],
    [{ authorization: "Bearer wrong" }, "invalid_token"],
  ])("requires the admin key (%o)", async (headers, code) => {
    await chargeUncertain(EVA, 100);
    expect(await errorOf(await release("", headers))).toEqual([401, code, null]);
    expect(await sums()).toEqual([100, 100, 0, 0]);
  });

  it("accepts no other method, and a preflight allows it", async () => {
    const response = await fetchWorker("/v1/usage/uncertain", environment(), { headers: ADMIN });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "DELETE"]);
    const preflight = await fetchWorker("/v1/usage/uncertain", environment(), {
      method: "OPTIONS",
      headers: { origin: "https://page.example", "access-control-request-method": "DELETE" },
    });
    expect(preflight.headers.get("access-control-allow-methods")).toContain("DELETE");
  });

  it("releases hundreds of charges of many callers", async () => {
    const callers = Array.from({ length: 250 }, (_, index) => network(`10.0.0.${index}`));
    await Promise.all(callers.map((caller) => chargeUncertain(caller, 10)));
    expect(await (await release()).json()).toMatchObject({ generations: 250, has_more: false });
    expect(await spentToday(testConfig())).toBe(0);
  });

  it("completes what an interruption left, when it is repeated", async () => {
    await chargeUncertain(EVA, 100);
    await chargeUncertain(ANN, 20);
    const accounts = bindings().BUDGET;
    const broken = accounts.idFromName(`token/tok_ann`);
    const failing = {
      idFromName: (name: string) => accounts.idFromName(name),
      idFromString: (id: string) => accounts.idFromString(id),
      get: (id: DurableObjectId) =>
        id.equals(broken) ? { refund: () => Promise.reject(new Error("down")) } : accounts.get(id),
    };
    const interrupted = await releaseUncertain(testConfig({ BUDGET: failing }), undefined);
    expect(interrupted).toEqual({ generations: 1, amount: 100, hasMore: true });
    // Ann's own account has released it, and the gateway's still has it.
    expect(await sums()).toEqual([20, 0, 0, 20]);
    expect(await usage()).toMatchObject({ uncertain_usd: 0.000_02 });
    const repeated = await releaseUncertain(testConfig(), undefined);
    expect(repeated).toEqual({ generations: 1, amount: 20, hasMore: false });
    expect(await sums()).toEqual([0, 0, 0, 0]);
  });

  it("also releases what one account has not settled yet, and a late settlement charges nothing", async () => {
    const config = testConfig();
    await reserveBudget(config, EVA, "gen_late", 50);
    const account = accountNamed(EVERYBODY);
    const row = { day: dayOf(nowSeconds()), caller: "public", model: "m", images: 0 };
    const usageRow = { ...row, hits: 0, collapsed: 0, spent: 50, saved: 0 };
    const others = [bindings().BUDGET.idFromName(`caller/${EVA.account}`).toString()];
    await account.settle("gen_late", 50, usageRow, undefined, others);
    expect(await releaseUncertain(config, undefined)).toMatchObject({ amount: 50 });
    const late = { spent: 50, model: "m", images: 0, isUncertain: true };
    await settleBudget(config, EVA, "gen_late", late);
    expect(await sums()).toEqual([0, 0, 0, 0]);
    expect(await usage()).toMatchObject({ uncertain_usd: 0, spent_today_usd: 0 });
  });
});

describe("the list of uncertain charges", () => {
  it("has no address of a client", async () => {
    await chargeUncertain(EVA, 1);
    const rows = await withTables(accountNamed(EVERYBODY), (tables) =>
      JSON.stringify(tables.rows("uncertain", "SELECT * FROM uncertain")),
    );
    expect(rows).toContain("gen_uncertain");
    expect(rows).not.toContain("192.0.2.1");
  });

  it("ends after 31 days, with the usage of these days", async () => {
    await chargeUncertain(EVA, 1);
    setClockAhead(33 * DAY_SECONDS);
    expect((await usage()).days).toEqual([]);
    expect(await (await release()).json()).toMatchObject({ generations: 0 });
    await runAlarm(accountNamed(EVERYBODY));
    expect(await statesOf(accountNamed(EVERYBODY))).toEqual({});
    expect((await usageOf(testConfig())).rows).toEqual([]);
  });

  it("is bounded: the oldest charge then stays spent", async () => {
    const first = await chargeUncertain(EVA, 3);
    await withTables(accountNamed(EVERYBODY), (tables) => {
      tables.write("uncertain", "UPDATE uncertain SET position = 1");
      tables.write(
        "uncertain",
        `INSERT INTO uncertain (position, id, day, amount, caller, model, accounts)
           SELECT 10000, 'gen_x', day, 0, caller, model, accounts FROM uncertain`,
      );
    });
    await chargeUncertain(EVA, 5);
    expect(await (await release()).json()).toMatchObject({ generations: 1, released_usd: 5e-6 });
    expect(await sums()).toEqual([3, 3, 0, 0]);
    expect(await statesOf(accountOfCaller(EVA))).toMatchObject({ [first]: "settled" });
  });

  it("is empty in an account of version 0.1.0", async () => {
    const account = accountNamed(EVERYBODY);
    await charge(EVA, 5);
    await runInDurableObject(account, (_, { storage }) => {
      expect(
        storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'uncertain'").toArray(),
      ).toEqual([]);
    });
    expect(await account.uncertainCharges(0)).toEqual([]);
    expect(await (await release()).json()).toMatchObject({ generations: 0 });
  });
});
