import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { beforeEach, describe, expect, it, vi } from "vitest";
import {
  releaseBudget,
  reserveBudget,
  settleBudget,
  type ChargedAccounts,
} from "../../src/access/accounts.ts";
import { signQuery } from "../../src/access/signed-url.ts";
import { TOKEN_MAX_SECONDS } from "../../src/access/token.ts";
import { DAY_SECONDS, nowSeconds } from "../../src/lib/clock.ts";
import { newPrompt, SMALL } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { TOKEN_SECRET } from "../support/vars.ts";
import {
  accountNamed,
  accountOfCaller,
  EVERYBODY,
  network,
  runAccountAlarms,
  runAlarm,
  statesOf,
  subject,
} from "../support/worker/accounts.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  bindings,
  deleteObjects,
  environment,
  fetchWorker,
  post,
  testConfig,
} from "../support/worker/harness.ts";
import { storesAnything, storingObjects } from "../support/worker/object-storage.ts";
import { freezeClockAtNoon } from "../support/worker/pass-time.ts";
import { newToken } from "../support/worker/token.ts";

quietAndFresh({ expectsErrors: true });
let passSeconds: (seconds: number) => void;
beforeEach(() => {
  passSeconds = freezeClockAtNoon();
});

const HOUR_SECONDS = 60 * 60;
const ANN = subject("ann");
const BUDGET = { BUDGET_USD_PER_DAY: "0.001" };
const NETWORKS = Array.from({ length: 30 }, (_, index) => network(`192.0.2.${index}`));
const TOKEN_ACCOUNT = "token/tok";

async function spend(caller: ChargedAccounts, amount: number, id = `gen_${crypto.randomUUID()}`) {
  const config = testConfig(BUDGET);
  expect((await reserveBudget(config, caller, id, amount)).failure).toBeUndefined();
  await settleBudget(config, caller, id, { spent: amount, model: "m", images: 1 });
}

/** Returns the caller with a token whose budget is 0.0001 USD. */
function withToken(exp?: number): ChargedAccounts {
  return { ...ANN, token: { jti: "tok", budget: 100, exp } };
}

/** Returns why a reservation of the caller is rejected; `undefined` if it is not. It is released at once. */
async function rejection(caller: ChargedAccounts, amount: number): Promise<string | undefined> {
  const id = `gen_${crypto.randomUUID()}`;
  const { failure } = await reserveBudget(testConfig(BUDGET), caller, id, amount);
  if (failure === undefined) await releaseBudget(testConfig(BUDGET), caller, id);
  return failure?.code;
}

describe("30 networks whose reservations are refused", () => {
  it.each<[string, ChargedAccounts[], number, number]>([
    ["by their own accounts", NETWORKS, 201, 0],
    ["by the gateway's account", NETWORKS, 100, 950],
    [
      "by their tokens' accounts",
      NETWORKS.map(({ caller, account }, index) => ({
        caller,
        account,
        token: { jti: `tok${index}`, budget: 50, exp: nowSeconds() + DAY_SECONDS },
      })),
      51,
      0,
    ],
  ])("%s leave nothing in any account after an hour", async (_, callers, amount, spent) => {
    if (spent > 0) await spend(ANN, spent);
    for (const caller of callers) expect(await rejection(caller, amount)).toBe("budget_exceeded");
    passSeconds(HOUR_SECONDS + 1);
    await runAccountAlarms();
    const names = [EVERYBODY, "caller/subject/ann"];
    const { BUDGET: accounts } = bindings();
    expect((await storingObjects(accounts, names)).toSorted()).toEqual(
      spent > 0 ? names.toSorted() : [],
    );
    expect(Object.values(await statesOf(accountNamed(EVERYBODY)))).toEqual(
      spent > 0 ? ["settled"] : [],
    );
    passSeconds(33 * DAY_SECONDS);
    await runAccountAlarms();
    expect(await storingObjects(accounts, names)).toEqual([]);
  });
});

describe("a signed `<img>` that waits for its turn", () => {
  it("leaves the row of its generation alone, once an hour has passed", async () => {
    vi.restoreAllMocks();
    vi.spyOn(console, "log").mockReturnValue();
    const env = environment({ TOKEN_SECRET });
    const caller = network("192.0.2.1");
    const held = testConfig({ MAX_CONCURRENT_PER_CALLER: "1" });
    for (let index = 0; index < 4; index += 1) {
      await reserveBudget(held, caller, `gen_held_${index}`, 1);
    }
    const parameters = { model: "dall-e-2", size: "256x256", prompt: newPrompt() };
    const query = await signQuery(parameters, nowSeconds() + 600, TOKEN_SECRET);
    const headers = { "cf-connecting-ip": "192.0.2.1" };
    const image = fetchWorker(`/v1/images/generations?${query}`, env, { headers });
    const states = async () => Object.values(await statesOf(accountNamed(EVERYBODY)));
    await eventually(async () => expect(await states()).toContain("void"));
    for (let index = 0; index < 4; index += 1) {
      await releaseBudget(held, caller, `gen_held_${index}`);
    }
    expect((await image).status).toBe(200);
    await eventually(async () => expect(await states()).toContain("settled"));
    const nowMs = Date.now();
    vi.spyOn(Date, "now").mockReturnValue(nowMs + (HOUR_SECONDS + 1) * 1000);
    await runAccountAlarms();
    expect(await states()).toEqual(["settled"]);
    expect(Object.values(await statesOf(accountOfCaller(caller)))).toEqual(["settled"]);
  });
});

describe("the account of a token", () => {
  const account = () => accountNamed(TOKEN_ACCOUNT);

  it("is deleted 31 days after the token expired, and its budget is never renewed before", async () => {
    const caller = withToken(nowSeconds() + 100 * DAY_SECONDS);
    await spend(caller, 60);
    for (const days of [32, 67, 31]) {
      passSeconds(days * DAY_SECONDS);
      await runAlarm(account());
      expect(await rejection(caller, 41)).toBe("budget_exceeded");
      expect(await rejection(caller, 40)).toBeUndefined();
    }
    passSeconds(2 * DAY_SECONDS);
    await runAlarm(account());
    passSeconds(31 * DAY_SECONDS);
    await runAlarm(account());
    expect(await storesAnything(account())).toBe(false);
  });

  it("stays 31 days longer if a job is charged to it after the token expired", async () => {
    const caller = withToken(nowSeconds() + DAY_SECONDS);
    await spend(caller, 60);
    passSeconds(8 * DAY_SECONDS);
    await spend(caller, 30);
    passSeconds(30 * DAY_SECONDS);
    await runAlarm(account());
    expect(await rejection(caller, 11)).toBe("budget_exceeded");
    passSeconds(2 * DAY_SECONDS);
    await runAlarm(account());
    expect(await storesAnything(account())).toBe(false);
  });

  it("stays for the longest lifetime of a token if a payer of an earlier version has no expiry", async () => {
    const caller = withToken();
    await spend(caller, 60);
    passSeconds(TOKEN_MAX_SECONDS);
    await runAlarm(account());
    expect(await rejection(caller, 41)).toBe("budget_exceeded");
    passSeconds(32 * DAY_SECONDS);
    await runAlarm(account());
    expect(await storesAnything(account())).toBe(false);
  });

  it("stays until the later of two expiries", async () => {
    const expires = nowSeconds() + 2 * TOKEN_MAX_SECONDS;
    await spend(withToken(expires), 30);
    await spend(withToken(), 30);
    await spend(withToken(nowSeconds() + 60), 1);
    passSeconds(2 * TOKEN_MAX_SECONDS);
    await runAlarm(account());
    expect(await rejection(withToken(expires), 40)).toBe("budget_exceeded");
  });

  it.each([Number.MAX_SAFE_INTEGER, nowSeconds() * 1000])(
    "stays if the token expires at %i, which no alarm can be set for",
    async (expires) => {
      const caller = withToken(expires);
      await spend(caller, 60);
      passSeconds(40 * DAY_SECONDS);
      await runAlarm(account());
      passSeconds(2 * TOKEN_MAX_SECONDS);
      await runAlarm(account());
      expect(await rejection(caller, 41)).toBe("budget_exceeded");
    },
  );

  it("is deleted an hour after everything was released, long before the token expires", async () => {
    expect(await rejection(withToken(nowSeconds() + TOKEN_MAX_SECONDS), 50)).toBeUndefined();
    passSeconds(HOUR_SECONDS + 1);
    await runAlarm(account());
    expect(await storesAnything(account())).toBe(false);
  });

  it("of version 0.1.0, without an expiry or an alarm, is deleted after the longest lifetime", async () => {
    await runInDurableObject(account(), (_, { storage }) => {
      storage.sql.exec(`
        CREATE TABLE entry (
          id TEXT PRIMARY KEY, day TEXT NOT NULL, amount INTEGER NOT NULL,
          state TEXT NOT NULL, at INTEGER NOT NULL
        );
        CREATE INDEX entry_state ON entry (state, at);
        CREATE TABLE total (day TEXT PRIMARY KEY, amount INTEGER NOT NULL);
        INSERT INTO total (day, amount) VALUES ('life', 90);`);
      storage.sql.exec(
        "INSERT INTO entry (id, day, amount, state, at) VALUES ('gen_open', 'life', 50, 'open', ?)",
        nowSeconds(),
      );
    });
    await account().settle("gen_open", 20);
    const caller = withToken();
    for (const seconds of [32 * DAY_SECONDS, TOKEN_MAX_SECONDS - DAY_SECONDS]) {
      passSeconds(seconds);
      await runAlarm(account());
      expect(await account().reserve("gen_x", 41, { ...LIFE, budget: 100 })).toBe("exceeded");
    }
    expect(await rejection(caller, 41)).toBe("budget_exceeded");
    passSeconds(34 * DAY_SECONDS);
    await runAlarm(account());
    expect(await storesAnything(account())).toBe(false);
  });

  it("learns the expiry of the token with each generation of a request", async () => {
    vi.restoreAllMocks();
    vi.spyOn(console, "log").mockReturnValue();
    const env = environment({ TOKEN_SECRET });
    const { headers, claims } = await newToken("shop", { budget_usd: 1 }, 5000);
    const response = await post({ ...SMALL, prompt: newPrompt() }, headers, env);
    expect(response.status).toBe(200);
    const expires = await runInDurableObject(
      accountNamed(`token/${claims.jti}`),
      (_, { storage }) => storage.sql.exec("SELECT day, expires FROM total").toArray(),
    );
    expect(expires).toEqual([{ day: "life", expires: claims.exp + 31 * DAY_SECONDS }]);
    await deleteObjects();
  });
});

const LIFE = { window: "life", maxOpen: Number.MAX_SAFE_INTEGER } as const;

describe("an account without an alarm, which version 0.1.0 stored", () => {
  it("is cleaned up after its open reservation is settled", async () => {
    await spend(ANN, 10);
    const account = accountOfCaller(ANN);
    await reserveBudget(testConfig(), ANN, "gen_open", 5);
    await runInDurableObject(account, (_, { storage }) => storage.deleteAlarm());
    await evictDurableObject(account);
    passSeconds(40 * DAY_SECONDS);
    await account.settle("gen_open", 5);
    await runAlarm(account);
    expect(await storesAnything(account)).toBe(false);
  });
});
