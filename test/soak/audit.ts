import { setTimeout as sleep } from "node:timers/promises";
import { MICRO_PER_DOLLAR, type MicroDollars } from "../../src/contract/pricing.ts";
import { ADMIN_KEY } from "../support/gateway.ts";
import { chargeOf, isGood, isSlow, isUncertain, paidFor, type Call } from "./journal.ts";
import type { StoredKey } from "./gateway-process.ts";
import {
  CLASSES,
  ledgersIn,
  objectsOf,
  objectsWithRows,
  SELF_CLEANING,
  problemsOfKeys,
} from "./storage.ts";
import { jsonOf, type Traffic } from "./traffic.ts";
import { SOAK_PATHS } from "./worker.ts";

/** The sums of `/v1/usage`. */
interface Usage {
  spentToday: MicroDollars;
  days: number;
  /** The amount that each caller was charged. */
  charged: Map<string, MicroDollars>;
}

/** The money of a run, in micro-dollars. */
export interface Money {
  /** Charged by the upstream. */
  paid: MicroDollars;
  /** Charged by the gateway. */
  charged: MicroDollars;
  /** Reservations that were charged because a kill came just before their call. */
  withoutCall: number;
}

const SETTLED_WITHIN_MS = 45_000;
const ALARMS_WITHIN_MS = 180_000;
/** The number of objects and prompts that are audited concurrently. */
const AT_ONCE = 8;
const DAY_MS = 24 * 60 * 60 * 1000;
/** Shorter than the retention of an Idempotency-Key, longer than that of other generations. */
const HOUR_MS = 60 * 60 * 1000;
/** Longer than the retention of any job. */
export const EIGHT_DAYS_MS = 8 * DAY_MS;
/** Longer than the retention of usage, which eight days later was written last. */
export const ALL_RETENTION_MS = EIGHT_DAYS_MS + 33 * DAY_MS;
/** Two generations that end within this time may be stored in either order: a record has seconds. */
const SAME_TIME_MS = 2000;

/** Waits until each account was charged the cost of its calls. Reports the accounts that never were. */
export async function auditMoney(traffic: Traffic): Promise<Money> {
  const { journal, gateway } = traffic;
  for (const untilMs = Date.now() + SETTLED_WITHIN_MS; ;) {
    const isIdle = journal.allCalls().every((call) => call.endedMs !== undefined);
    const usage = await usageOf(traffic);
    const problems: string[] = [];
    let withoutCall = 0;
    for (const account of journal.accounts) {
      const charged = usage.charged.get(account.name) ?? 0;
      const charge = chargeOf(account, charged, journal, gateway.kills);
      withoutCall += charge.withoutCall;
      if (charge.isCorrect) continue;
      const prompts = journal.promptsOf(account).map((prompt) => prompt.text);
      problems.push(
        `${account.name} was charged ${charged}, not ${charge.expected}: ${prompts.join()}`,
      );
    }
    for (const name of usage.charged.keys()) {
      const isKnown = journal.accounts.some((account) => account.name === name);
      if (!isKnown) problems.push(`usage of an unknown caller: ${name}`);
    }
    if ((isIdle && problems.length === 0) || Date.now() > untilMs) {
      for (const problem of problems) traffic.report(problem);
      if (!isIdle) traffic.report("an upstream call is still in progress");
      const paid = journal.allCalls().reduce((sum, call) => sum + paidFor(call), 0);
      const charged = [...usage.charged.values()].reduce((sum, each) => sum + each, 0);
      return { paid, charged, withoutCall };
    }
    await sleep(500);
  }
}

/** Reports each prompt that was generated more often than its client, a fault or a kill explains. */
export function auditRepeats(traffic: Traffic): void {
  const { journal, gateway } = traffic;
  for (const prompt of journal.prompts.values()) {
    const certain = journal
      .calls(prompt)
      .filter((call) => isGood(call) && !isUncertain(call, gateway.kills));
    const allowed = 1 + prompt.permits;
    if (certain.length > allowed) {
      traffic.report(`generated ${certain.length} times instead of ${allowed}`, prompt);
    }
  }
}

async function usageOf(traffic: Traffic): Promise<Usage> {
  const reply = await traffic.send("usage", "/v1/usage", {
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  });
  const { days, spent_today_usd: spentToday } = jsonOf(reply) as {
    days: { callers: { caller: string; spent_usd: number }[] }[];
    spent_today_usd: number;
  };
  const charged = new Map<string, MicroDollars>();
  for (const { caller, spent_usd: spent } of days.flatMap((day) => day.callers)) {
    charged.set(caller, (charged.get(caller) ?? 0) + Math.round(spent * MICRO_PER_DOLLAR));
  }
  return {
    spentToday: Math.round(spentToday * MICRO_PER_DOLLAR),
    days: days.filter((day) => day.callers.length > 0).length,
    charged,
  };
}

/** Returns the reserved amount according to the API: today's spending, less the sum of the rows. */
export async function openToday(traffic: Traffic): Promise<MicroDollars | undefined> {
  const { spentToday, days, charged } = await usageOf(traffic);
  // At midnight UTC the sum of today starts at 0, and the rows of yesterday stay.
  if (days !== 1) return undefined;
  return spentToday - [...charged.values()].reduce((sum, each) => sum + each, 0);
}

/** Sets the clock ahead, and waits until no object of these classes has an alarm that is due. */
export async function passTime(
  traffic: Traffic,
  directory: string,
  ms: number,
  classes: Record<string, string>,
): Promise<void> {
  await traffic.send("clock", `${SOAK_PATHS.clock}${ms}`, {});
  let left = Object.entries(classes).flatMap(([binding, className]) =>
    objectsOf(directory, className).map((id) => `${binding}/${id}`),
  );
  for (const untilMs = Date.now() + ALARMS_WITHIN_MS; left.length > 0 && Date.now() < untilMs;) {
    const due: string[] = [];
    await forEach(left, async (object) => {
      const reply = await traffic.send("alarm", `${SOAK_PATHS.alarm}${object}`, {});
      const body = reply.body.toString();
      if (reply.status !== 200) throw new Error(`${object}: ${body.slice(0, 200)}`);
      if (body === '"due"') due.push(object);
    });
    left = due;
    if (left.length > 0) await sleep(500);
  }
  for (const object of left) traffic.report(`an alarm that stays set: ${object}`);
}

/**
 * Repeats requests with an Idempotency-Key when only the key's generation remembers the images: an hour later, and
 * after their expiry in KV. Returns the number of requests.
 */
export async function auditKeyed(traffic: Traffic, directory: string): Promise<number> {
  await passTime(traffic, directory, HOUR_MS, { GENERATION: "Generation" });
  await forEach(traffic.keyed, async ({ prompt, headers, id, call }) => {
    await traffic.send("expire", `${SOAK_PATHS.expire}${id}`, {});
    prompt.isStored = false;
    const result = await traffic.obtain(prompt, "url", headers);
    if (result.kind !== "images" || !result.calls.includes(call)) {
      traffic.report("not the images of the Idempotency-Key after their expiry in KV", prompt);
    }
  });
  return traffic.keyed.length;
}

/** Checks that no generation is served after its DELETE. Returns the number of deleted generations. */
export async function auditDeleted(traffic: Traffic): Promise<number> {
  await forEach([...traffic.deleted], async ([id, prompt]) => {
    const headers = { authorization: `Bearer ${prompt.account.token}` };
    const paths = [`/v1/images/generations/${id}`, `/v1/images/${id}/0.${prompt.format}`];
    for (const path of paths) {
      const { status } = await traffic.send("poll", path, { headers });
      if (status !== 404) traffic.report(`${path}: status ${status} after DELETE`, prompt);
    }
  });
  return traffic.deleted.size;
}

/**
 * Checks that the newest images that were paid for and stored are still served, from KV alone, and none that were
 * deleted or replaced.
 */
export async function auditServed(traffic: Traffic): Promise<number> {
  const { journal, gateway } = traffic;
  let served = 0;
  await forEach([...journal.prompts.values()], async (prompt) => {
    const calls = journal.calls(prompt);
    if (calls.length === 0) return;
    const certain = calls.filter(
      (call) => isGood(call) && !isSlow(call) && !isUncertain(call, gateway.kills),
    );
    const newestMs = Math.max(...certain.map(endedMs));
    // If the newest one was deleted, an older one need not return.
    const mustBeStored = certain
      .filter((call) => endedMs(call) >= newestMs - SAME_TIME_MS)
      .some((call) => call.deletedMs === undefined);
    const headers = { "cache-control": "only-if-cached" };
    const codes = mustBeStored && prompt.isStored ? [] : ["not_cached"];
    const result = await traffic.obtain(prompt, "url", headers, { codes });
    if (result.kind !== "images") return;
    served += 1;
    if (!prompt.isStored) traffic.report("stored despite no-store, or after its expiry", prompt);
    if (result.calls.every((call) => call.deletedMs !== undefined)) {
      traffic.report("deleted images are stored again", prompt);
    }
    const isNewest = result.calls.some((call) => endedMs(call) >= newestMs - SAME_TIME_MS);
    if (!isNewest) traffic.report("images are stored that newer ones have replaced", prompt);
  });
  return served;
}

function endedMs(call: Call): number {
  return call.endedMs ?? Number.POSITIVE_INFINITY;
}

/** Runs `work` for each item, a few concurrently. */
async function forEach<Item>(
  items: readonly Item[],
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const item of queue) await work(item);
    }),
  );
}

/** Checks that the keys of KV are consistent. Returns their number. */
export async function auditKeys(traffic: Traffic): Promise<number> {
  const { journal, gateway } = traffic;
  const keys = await gateway.request<StoredKey[]>("stored keys");
  const moderationBlocks = [...journal.prompts.values()].filter(
    ({ fault }) => fault.code === "moderation_blocked",
  ).length;
  const problems = problemsOfKeys(keys, moderationBlocks);
  for (const problem of problems) traffic.report(problem);
  return keys.length;
}

/**
 * Checks the directory of a stopped gateway: no self-cleaning object has rows, the sums of the accounts
 * are right, and no reservation is open.
 *
 * @param openToday the reserved amount according to the API; `undefined` if it cannot be compared
 */
export function auditDirectory(
  traffic: Traffic,
  directory: string,
  openToday: MicroDollars | undefined,
): void {
  for (const className of Object.values(SELF_CLEANING)) {
    for (const { id, tables } of objectsWithRows(directory, className)) {
      traffic.report(`rows are left: ${className} ${id} (${tables.join()})`);
    }
  }
  const { open, openForAll, total, spent } = ledgersIn(directory);
  const openAmount = openForAll.reduce((sum, { amount }) => sum + amount, 0);
  if (total !== spent + openAmount) {
    traffic.report(`the total is ${total}, the usage ${spent}, and ${openAmount} is open`);
  }
  if (openToday !== undefined && openToday !== openAmount) {
    traffic.report(
      `spent_today_usd less the rows is ${openToday} micro-dollars, and ${openAmount} is open`,
    );
  }
  for (const reservation of open.values()) {
    traffic.report(`a reservation is open: ${JSON.stringify(reservation)}`);
  }
}

/** The tables that may have rows after all retention, by class. */
const PERMANENT: Record<string, readonly string[]> = {
  // The total of a token's budget.
  Budget: ["total"],
  // Deleted by a later revocation.
  Revocations: ["revoked"],
};

/** Checks which objects have rows after all retention. Returns their number by class. */
export function auditRetention(traffic: Traffic, directory: string): string {
  const left: string[] = [];
  for (const className of Object.values(CLASSES)) {
    const objects = objectsWithRows(directory, className);
    if (objects.length > 0) left.push(`${objects.length} ${className}`);
    for (const { id, tables } of objects) {
      const expired = tables.filter((table) => PERMANENT[className]?.includes(table) !== true);
      if (expired.length === 0) continue;
      traffic.report(`rows are left after all retention: ${className} ${id} (${expired.join()})`);
    }
  }
  return left.join(", ");
}
