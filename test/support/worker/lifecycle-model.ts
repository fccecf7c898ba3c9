import { expect } from "vitest";

/*
 * The state machine of docs/how-it-works.md as a model. It predicts the state of one request key's object, of
 * KV and of the accounts after each event, and the responses that a client may get. It shares no code with src.
 */

/** The response to a client: the id of a generation, or the code of an error. */
export interface ModelResponse {
  status: number;
  id?: string | undefined;
  code?: string | undefined;
}

/** The outcome of an upstream call. */
export type Ending = "image" | "rejected" | "blocked" | "cut";

/** A dependency that fails or hangs while it is set. For the gateway, which limits each call, that is the same. */
export type Trouble = "kvReads" | "kvWrites" | "accounts";

/** One generation as its object stores it. */
interface Row {
  id: string;
  state: "queued" | "dispatched" | "done" | "failed";
  failure: { status: number; code: string; isCharged: boolean } | undefined;
  endedS: number;
  copiedS: number;
  isSettled: boolean;
  isCopied: boolean;
  settleAttempts: number;
  copyAttempts: number;
}

const FAILURES = {
  rejected: { status: 400, code: "some_code", isCharged: false },
  blocked: { status: 400, code: "moderation_blocked", isCharged: false },
  cut: { status: 502, code: "upstream_invalid_response", isCharged: true },
  unknown: { status: 502, code: "upstream_outcome_unknown", isCharged: true },
} as const;

const KV_STALE_S = 60;
const RETENTION_S = 600;
const MAX_ATTEMPTS = 10;
/** The number of the last write of a copy, from 0. */
const LAST_WRITE = 2;

/** A start whose reservation failed, so that the object must release what may be reserved. */
interface Undecided {
  attempts: number;
  /** True if the current alarm has tried to release it. */
  isTried: boolean;
}

/** A deleted generation, whose entries in KV are deleted at once and ten minutes later. */
interface Tombstone {
  deletedS: number;
  isPurged: boolean;
}

function must(rule: string, actual: unknown, expected: unknown): void {
  expect(actual, rule).toEqual(expected);
}

export class LifecycleModel {
  /** Seconds since the start of the run. */
  nowS = 0;
  readonly troubles = new Set<Trouble>();
  /** Calls that the upstream received. */
  calls = 0;
  /** The generation whose upstream call the running instance waits for. */
  inFlight: string | undefined;
  /** Every id that a client has received. */
  readonly ids: string[] = [];
  /** True if the alarm of the queued generation was lost, and nothing has set it again. */
  #isAlarmLost = false;
  #rows: Row[] = [];
  #undecided: Undecided[] = [];
  #tombstones: Tombstone[] = [];
  /** In KV: the id under the request's key, the ids with a record of their own, the moderation block. */
  #kv = { request: undefined as string | undefined, records: new Set<string>(), isBlocked: false };
  readonly #deletedS = new Map<string, number>();
  readonly #replacedS = new Map<string, number>();
  /** Micro-dollars by generation: reserved, then what was charged. */
  readonly #charges = new Map<string, { amount: number; isOpen: boolean }>();
  /** Reservations that will stay open, by id, with the known reason. */
  readonly leaks = new Map<string, string>();
  readonly #upperBound: number;
  readonly #actual: number;

  /**
   * @param upperBound the reservation for a generation, in micro-dollars
   * @param actual the cost of an image, in micro-dollars
   */
  constructor(upperBound: number, actual: number) {
    this.#upperBound = upperBound;
    this.#actual = actual;
  }

  /** Returns the sum of charges and reservations, as the shared account counts it. */
  spent(): number {
    return [...this.#charges.values()].reduce((sum, { amount }) => sum + amount, 0);
  }

  /** Returns the ids whose reservations are open. */
  open(): string[] {
    return [...this.#charges].filter(([, { isOpen }]) => isOpen).map(([id]) => id);
  }

  /** Returns true if the object has work that only its alarm can do. */
  isUnfinished(): boolean {
    return this.#rows.some(
      ({ state, isSettled, isCopied }) =>
        state === "queued" ||
        state === "dispatched" ||
        !isSettled ||
        (state === "done" && !isCopied),
    );
  }

  /** Returns true if a generation is queued, so that its alarm may be lost. */
  isQueued(): boolean {
    return this.#current()?.state === "queued";
  }

  /** Deletes the alarm of the queued generation. */
  alarmLost(): void {
    this.#isAlarmLost = true;
  }

  /** Returns true if the object must have an alarm: it stores something, and no alarm is running. */
  mustHaveAlarm(): boolean {
    const stored = this.#rows.length + this.#undecided.length + this.#tombstones.length;
    return stored > 0 && this.inFlight === undefined && !this.#isAlarmLost;
  }

  /** Checks the response to a POST that starts a generation, joins one, or is a cache hit. */
  posted(response: ModelResponse): void {
    const canRead = !this.troubles.has("kvReads");
    const stored = canRead ? this.#kv.request : undefined;
    if (response.status === 200 && this.#isStale(response.id)) return;
    if (stored !== undefined) {
      must("a cached generation is a hit", response, { status: 200, id: stored });
      return;
    }
    const blockedInKv = canRead && this.#kv.isBlocked;
    if (blockedInKv && response.code === "moderation_blocked") return;
    this.#failOrphan();
    const current = this.#current();
    if (current !== undefined) {
      this.#isAlarmLost = false;
      const status = current.state === "done" ? 200 : 202;
      must("a POST joins the generation of the object", response, { status, id: current.id });
      return;
    }
    const isBlocked = this.#rows.some(
      ({ failure, endedS }) =>
        failure?.code === "moderation_blocked" && this.nowS - endedS <= KV_STALE_S,
    );
    if (isBlocked || blockedInKv) {
      must("the response is one of the documented ones", response, {
        status: 400,
        code: "moderation_blocked",
      });
      return;
    }
    if (this.troubles.has("accounts")) {
      must("no generation starts without a reservation", response, {
        status: 500,
        code: "internal_error",
      });
      this.#undecided.push({ attempts: 0, isTried: false });
      return;
    }
    const { id = "none" } = response;
    must("the response is one of the documented ones", response, { status: 202, id });
    must("a generation that starts has a new id", this.ids.includes(id), false);
    this.ids.push(id);
    this.#charges.set(id, { amount: this.#upperBound, isOpen: true });
    this.#rows.push({
      id,
      state: "queued",
      failure: undefined,
      endedS: Number.NEGATIVE_INFINITY,
      copiedS: Number.NEGATIVE_INFINITY,
      isSettled: false,
      isCopied: false,
      settleAttempts: 0,
      copyAttempts: 0,
    });
  }

  /** Checks the response to a GET of a generation by its id. `image` is the status of its image file. */
  polled(id: string, response: ModelResponse, image: number): void {
    const isInKv = this.#kv.records.has(id) && !this.troubles.has("kvReads");
    if (!isInKv && this.#isStale(id)) {
      must("a deleted generation may still be cached", [200, 404].includes(response.status), true);
      // Without a cached record, the object is called.
      if (response.status === 404) this.#failOrphan();
      return;
    }
    if (isInKv) {
      must("a generation in KV is served", [response, image], [{ status: 200, id }, 200]);
      return;
    }
    this.#failOrphan();
    const row = this.#rows.find((each) => each.id === id);
    if (row === undefined) {
      must("the response is one of the documented ones", response, {
        status: 404,
        code: "generation_not_found",
      });
    } else if (row.failure !== undefined) {
      const { status, code } = row.failure;
      must("the response is one of the documented ones", response, { status, code });
    } else {
      this.#isAlarmLost = false;
      const status = row.state === "done" ? 200 : 202;
      must(
        "the image file exists once the generation is done",
        [response, image],
        [{ status, id }, status === 200 ? 200 : 404],
      );
    }
  }

  /** Checks the response to a DELETE of a generation by its id. */
  deleted(id: string, response: ModelResponse): void {
    this.#failOrphan();
    if (this.troubles.has("kvReads")) {
      must("a DELETE fails if KV cannot be read", response.status, 500);
      return;
    }
    const isInKv = this.#kv.records.has(id);
    const row = this.#rows.find((each) => each.id === id);
    if (!isInKv && row === undefined) {
      const statuses = this.#isStale(id) ? [204, 404] : [404];
      must("an unknown generation cannot be deleted", statuses.includes(response.status), true);
      return;
    }
    if (row?.state === "queued" || row?.state === "dispatched") {
      this.#isAlarmLost = false;
      must("a generation in progress cannot be deleted", response, {
        status: 409,
        code: "generation_in_progress",
      });
      return;
    }
    const mustSettle = row?.state === "done" && !row.isSettled;
    if (mustSettle && this.troubles.has("accounts")) {
      must("a DELETE fails if the cost cannot be settled", response.status, 500);
      return;
    }
    must("a generation that exists is deleted", response.status, 204);
    if (mustSettle) this.#settle(row);
    if (row?.state === "done") {
      this.#rows = this.#rows.filter((each) => each !== row);
      this.#tombstones.push({ deletedS: this.nowS, isPurged: false });
    }
    if (row?.state === "done" || isInKv) this.#deleteInKv(id);
  }

  /** Runs the alarm of the object up to the upstream call. Returns true if it waits for the response. */
  alarmed(): boolean {
    this.#isAlarmLost = false;
    this.#failOrphan();
    for (const undecided of this.#undecided) undecided.isTried = false;
    this.#release();
    const current = this.#current();
    if (current?.state === "queued") {
      current.state = "dispatched";
      this.inFlight = current.id;
      this.calls += 1;
      return true;
    }
    this.#finishAlarm();
    return false;
  }

  /** Ends the upstream call that the alarm waits for, and runs the rest of the alarm. */
  ended(ending: Ending): void {
    const row = this.#endedRow();
    if (ending === "image") {
      row.state = "done";
    } else {
      row.state = "failed";
      row.failure = FAILURES[ending];
      if (ending === "blocked" && !this.troubles.has("kvWrites")) this.#kv.isBlocked = true;
    }
    this.#finishAlarm();
  }

  /**
   * Ends the upstream call that the alarm waits for with an image. During a write of its copy to KV, a DELETE
   * arrives.
   *
   * @param write the number of the write: the image, the record by its id, the record under the request key
   */
  deletedDuringCopy(write: number, response: ModelResponse): void {
    must("a generation is deleted during its copy", response.status, 204);
    const row = this.#endedRow();
    row.state = "done";
    this.#settle(row);
    if (write === LAST_WRITE) this.#storeByKey(row.id);
    this.#rows = this.#rows.filter((each) => each !== row);
    this.#tombstones.push({ deletedS: this.nowS, isPurged: false });
    this.#deleteInKv(row.id);
    this.#finishAlarm();
  }

  /** Ends the instance. The rows stay, but no instance waits for the call. */
  crashed(): void {
    this.inFlight = undefined;
  }

  #endedRow(): Row {
    const row = this.#rows.find(({ id }) => id === this.inFlight);
    this.inFlight = undefined;
    if (row === undefined) throw new Error("no upstream call is in flight");
    row.endedS = this.nowS;
    return row;
  }

  #current(): Row | undefined {
    return this.#rows.find(({ state }) => state !== "failed");
  }

  #failOrphan(): void {
    const current = this.#current();
    if (current?.state !== "dispatched" || current.id === this.inFlight) return;
    current.state = "failed";
    current.failure = FAILURES.unknown;
    current.endedS = this.nowS;
  }

  #finishAlarm(): void {
    this.#release();
    for (const row of this.#rows) {
      if (row.endedS > Number.NEGATIVE_INFINITY && !row.isSettled) this.#settle(row);
    }
    const current = this.#current();
    if (current?.state === "done" && !current.isCopied) this.#copy(current);
    if (current?.state === "queued") return;
    this.#purge();
    if (this.isUnfinished() || this.#undecided.length + this.#tombstones.length > 0) return;
    const expiryS = this.#rows.map((row) => Math.max(row.endedS, row.copiedS) + RETENTION_S);
    if (this.nowS >= Math.max(...expiryS)) this.#rows = [];
  }

  #release(): void {
    for (const undecided of this.#undecided.filter(({ isTried }) => !isTried)) {
      undecided.isTried = true;
      undecided.attempts += 1;
    }
    const fails = this.troubles.has("accounts");
    this.#undecided = this.#undecided.filter(({ isTried, attempts }) =>
      isTried ? fails && attempts < MAX_ATTEMPTS : true,
    );
  }

  #purge(): void {
    const isDue = ({ deletedS, isPurged }: Tombstone) =>
      !isPurged || this.nowS - deletedS >= RETENTION_S;
    // The second purge is in a later alarm than the first one.
    this.#tombstones = this.#tombstones.filter((each) => !(each.isPurged && isDue(each)));
    for (const tombstone of this.#tombstones) tombstone.isPurged = true;
  }

  #settle(row: Row): void {
    if (this.troubles.has("accounts")) {
      row.settleAttempts += 1;
      if (row.settleAttempts < MAX_ATTEMPTS) return;
      this.leaks.set(row.id, "the account could not be reached ten times");
    } else {
      const failed = row.failure?.isCharged === true ? this.#upperBound : 0;
      const amount = row.state === "done" ? this.#actual : failed;
      this.#charges.set(row.id, { amount, isOpen: false });
    }
    row.isSettled = true;
  }

  #copy(row: Row): void {
    if (this.troubles.has("kvWrites")) {
      row.copyAttempts += 1;
      if (row.copyAttempts < MAX_ATTEMPTS) return;
    } else {
      this.#storeByKey(row.id);
      this.#kv.records.add(row.id);
    }
    row.isCopied = true;
    row.copiedS = this.nowS;
  }

  #storeByKey(id: string): void {
    if (this.#kv.request !== undefined) this.#replacedS.set(this.#kv.request, this.nowS);
    this.#kv.request = id;
  }

  #deleteInKv(id: string): void {
    this.#deletedS.set(id, this.nowS);
    this.#kv.records.delete(id);
    if (this.#kv.request === id) this.#kv.request = undefined;
  }

  /** True if a location of KV may still return a generation that was deleted or replaced. */
  #isStale(id = ""): boolean {
    return [this.#deletedS, this.#replacedS].some(
      (times) => this.nowS - (times.get(id) ?? Number.NEGATIVE_INFINITY) < KV_STALE_S,
    );
  }
}
