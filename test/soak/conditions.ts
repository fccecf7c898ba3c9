import type { Random } from "./random.ts";

/** What the soak's entry module can disturb: the methods of KV, and the RPC of the objects of a binding. */
export type Target =
  | "get"
  | "getWithMetadata"
  | "put"
  | "delete"
  | "BUDGET"
  | "GENERATION"
  | "IDEMPOTENCY"
  | "JOBS"
  | "REVOCATIONS";

/** What happens to calls of a target. */
export interface CallFault {
  /**
   * - `slow`: the call begins after a delay
   * - `fails`: the call rejects, and has no effect
   * - `loses`: the call has its effect, and then rejects. An object restarts as well; its next calls succeed
   * - `hangs`: the call has no effect, and does not settle
   */
  kind: "slow" | "fails" | "loses" | "hangs";
  /** The probability for each call; 1 if absent. */
  share?: number;
  /** The shortest and the longest delay of a slow call. */
  ms?: readonly [min: number, max: number];
}

export type Faults = Partial<Record<Target, CallFault>>;

/** The state of KV and of the objects for a few seconds. */
export interface Condition {
  name: string;
  faults: Faults;
  /** True if a request may fail because of it, with a 500. A client then repeats it. */
  mayFail: boolean;
}

export const CALM: Condition = { name: "calm", faults: {}, mayFail: false };

const SLOW_KV: Faults = {
  get: { kind: "slow", ms: [5, 200] },
  getWithMetadata: { kind: "slow", ms: [5, 200] },
  put: { kind: "slow", ms: [300, 1500] },
  delete: { kind: "slow", ms: [100, 800] },
};

const SLOW_OBJECTS: Faults = {
  BUDGET: { kind: "slow", ms: [20, 600] },
  GENERATION: { kind: "slow", ms: [5, 100] },
  IDEMPOTENCY: { kind: "slow", ms: [20, 600] },
  JOBS: { kind: "slow", ms: [5, 200] },
  REVOCATIONS: { kind: "slow", ms: [5, 200] },
};

/** The conditions under which the gateway is killed: a kill falls between the writes of a copy. */
const AT_KILLS: readonly [Condition, ...Condition[]] = [
  { name: "slow KV", faults: SLOW_KV, mayFail: false },
  { name: "slow KV and objects", faults: { ...SLOW_KV, ...SLOW_OBJECTS }, mayFail: false },
];

const always = (kind: CallFault["kind"]): CallFault => ({ kind });
const often = (kind: CallFault["kind"]): CallFault => ({ kind, share: 0.4 });

/** Conditions for a few seconds, from which the gateway must recover. */
const BETWEEN_KILLS: readonly [Condition, ...Condition[]] = [
  CALM,
  { name: "KV writes fail", faults: { put: always("fails") }, mayFail: false },
  {
    name: "KV fails",
    faults: {
      get: always("fails"),
      getWithMetadata: always("fails"),
      put: always("fails"),
      delete: always("fails"),
    },
    mayFail: true,
  },
  {
    name: "KV loses responses",
    faults: { ...SLOW_KV, put: often("loses"), delete: often("loses") },
    mayFail: true,
  },
  {
    name: "accounts and keys fail",
    faults: { BUDGET: often("fails"), IDEMPOTENCY: often("fails") },
    mayFail: true,
  },
  {
    name: "KV and accounts fail",
    faults: { put: always("fails"), BUDGET: always("fails") },
    mayFail: true,
  },
];

/** Conditions in which calls do not end: the gateway must give them up. */
const HANGING: readonly [Condition, ...Condition[]] = [
  {
    name: "KV reads hang",
    faults: { get: often("hangs"), getWithMetadata: often("hangs") },
    mayFail: true,
  },
  {
    name: "KV writes hang",
    faults: { put: often("hangs"), delete: often("hangs") },
    mayFail: true,
  },
  {
    name: "accounts and keys hang",
    faults: { BUDGET: often("hangs"), IDEMPOTENCY: often("hangs") },
    mayFail: true,
  },
];

/** Returns the conditions until a kill: those of the first half, then those of the kill. */
export function conditionsUntilKill(random: Random): [between: Condition, atKill: Condition] {
  const between = random.chance(0.4) ? HANGING : BETWEEN_KILLS;
  return [random.pick(between), random.pick(AT_KILLS)];
}

/** The time that a run needs after requests have failed: Workflows retry after 5 and 10 s. */
const RECOVERED_WITHIN_MS = 12_000;
/** The time that a run needs after calls have hung. */
const GIVEN_UP_WITHIN_MS = 18_000;

/**
 * Returns a condition for the time without kills.
 *
 * @param leftMs the time until the end of the requests
 */
export function conditionWithoutKills(random: Random, leftMs: number): Condition {
  if (leftMs > GIVEN_UP_WITHIN_MS && random.chance(0.4)) return random.pick(HANGING);
  const condition = random.pick(random.chance(0.5) ? AT_KILLS : BETWEEN_KILLS);
  return condition.mayFail && leftMs < RECOVERED_WITHIN_MS ? AT_KILLS[0] : condition;
}
