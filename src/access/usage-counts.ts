import type { Config } from "../config/environment.ts";
import { dayOf, nowSeconds } from "../lib/clock.ts";
import { objectClient, type ObjectClient } from "../lib/object-client.ts";
import type { Budget } from "./budget.ts";
import { addUsage, boundedRow, usageKey, type UsageRow } from "./usage.ts";

/*
 * The usage of requests that cost nothing. A cache hit must not call a Durable Object, so each isolate
 * collects its counts and writes them together.
 *
 * The counts are spread over 16 objects, so that hits never load the account that every cache miss waits
 * for. Each isolate has one of them, chosen at random. A choice by caller would not spread the load, because
 * all callers without a token have the same name, and it would need up to 16 calls per write instead of one.
 */

/** The number of objects. Their names end in one hexadecimal digit. */
const OBJECTS = 16;

/** The time from the first count to its write. */
const FIRST_WRITE_MS = 1000;
/** The shortest time between two writes of an isolate. */
const WRITE_INTERVAL_MS = 10_000;
/** The time after which a write that has not started never will: the runtime has ended its request. */
const ABANDONED_MS = 15_000;
/** The attempts of one request, if no other writes. Two of them are over within the 30 s of `waitUntil`. */
const WRITE_ATTEMPTS = 2;
/** Bounds the rows in memory, because tokens may have many subjects. */
const MAX_ROWS = 1000;

/** A request that cost nothing. */
export type CountedRequest = Omit<UsageRow, "day" | "images" | "spent">;

/** Each gateway has objects of its own. A configuration lives as long as its isolate. */
const counters = new WeakMap<Config, UsageCounter>();

/**
 * Counts a request that cost nothing.
 *
 * @returns the write, for `waitUntil`; `undefined` if another request writes. If it rejects, the next write
 *   repeats it
 */
export function countUsage(config: Config, counted: CountedRequest): Promise<void> | undefined {
  let counter = counters.get(config);
  if (counter === undefined) {
    counter = new UsageCounter(config.budgets);
    counters.set(config, counter);
  }
  return counter.count(counted);
}

/**
 * Returns the usage of requests that cost nothing. An object that does not respond is left out, because the
 * money is elsewhere, and an operator needs it most while something fails.
 */
export async function countedUsage({
  budgets,
}: Config): Promise<{ rows: UsageRow[]; isComplete: boolean }> {
  const parts = await Promise.all(
    Array.from({ length: OBJECTS }, async (_, index) => {
      try {
        return await objectOf(budgets, index).usage();
      } catch {
        return undefined;
      }
    }),
  );
  return {
    rows: parts.flatMap((rows) => rows ?? []),
    isComplete: !parts.includes(undefined),
  };
}

function objectOf(budgets: Config["budgets"], index: number): ObjectClient<Budget> {
  return objectClient(budgets, budgets.idFromName(`usage/${index.toString(16)}`));
}

/** Rows that were sent, under a number that never changes. */
interface Batch {
  number: number;
  rows: UsageRow[];
}

/**
 * Counts the requests of one isolate that cost nothing, and writes the sums to one object.
 *
 * Rows leave the memory when their write is confirmed. A failed write is repeated by the next one, with the
 * same rows and number. If only its confirmation was lost, the object ignores the repetition. So each request
 * is counted once, unless the isolate ends before the write.
 */
export class UsageCounter {
  readonly #budgets: Config["budgets"];
  readonly #object = Math.floor(Math.random() * OBJECTS);
  readonly #sender = crypto.randomUUID();
  /** Rows that were not sent yet, by `usageKey`. */
  readonly #open = new Map<string, UsageRow>();
  /** The batch whose write is not confirmed. */
  #sent: Batch | undefined;
  #lastNumber = 0;
  #lastWriteMs = Number.NEGATIVE_INFINITY;
  /** The time from which a write waits for its turn. It will contain the rows that are counted until then. */
  #waitingSinceMs: number | undefined;

  constructor(budgets: Config["budgets"]) {
    this.#budgets = budgets;
  }

  /** Counts a request. Returns the write, or `undefined` if another write will contain the request. */
  count(counted: CountedRequest): Promise<void> | undefined {
    const row = { ...counted, day: dayOf(nowSeconds()), images: 0, spent: 0 };
    addUsage(
      this.#open,
      boundedRow(row, MAX_ROWS, (each) => this.#rowsBeside(each)),
    );
    return this.#isWriteDue() ? undefined : this.#writeLater(WRITE_ATTEMPTS);
  }

  /** Returns true if a write will start that contains all rows of now. */
  #isWriteDue(): boolean {
    return this.#waitingSinceMs !== undefined && msLeft(this.#waitingSinceMs, ABANDONED_MS) > 0;
  }

  async #writeLater(attempts: number): Promise<void> {
    const startedMs = Date.now();
    this.#waitingSinceMs = startedMs;
    await scheduler.wait(Math.max(FIRST_WRITE_MS, msLeft(this.#lastWriteMs, WRITE_INTERVAL_MS)));
    if (this.#waitingSinceMs === startedMs) this.#waitingSinceMs = undefined;
    this.#lastWriteMs = Date.now();
    try {
      await this.#write();
    } catch (error) {
      // Another request that waits for its write repeats this one.
      if (this.#isWriteDue()) return;
      if (attempts === 1) throw error;
      await this.#writeLater(attempts - 1);
    }
  }

  /** Repeats the write that is not confirmed, then writes the new rows. */
  async #write(): Promise<void> {
    while (this.#sent !== undefined) await this.#send(this.#sent);
    if (this.#open.size === 0) return;
    this.#lastNumber += 1;
    this.#sent = { number: this.#lastNumber, rows: [...this.#open.values()] };
    this.#open.clear();
    await this.#send(this.#sent);
  }

  async #send(batch: Batch): Promise<void> {
    const { number, rows } = batch;
    await objectOf(this.#budgets, this.#object).count(rows, { by: this.#sender, number });
    // Another request may have repeated the same write, and may have sent the next batch since.
    if (this.#sent === batch) this.#sent = undefined;
  }

  #rowsBeside(row: UsageRow): number {
    const open = this.#open.size - (this.#open.has(usageKey(row)) ? 1 : 0);
    return open + (this.#sent?.rows.length ?? 0);
  }
}

/** Returns the rest of a period. 0 if the clock was set back, so that nothing waits for long. */
function msLeft(startMs: number, periodMs: number): number {
  const elapsedMs = Date.now() - startMs;
  return elapsedMs < 0 ? 0 : Math.max(0, periodMs - elapsedMs);
}
