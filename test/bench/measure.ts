import { setTimeout as wait } from "node:timers/promises";
import { send, type Call } from "./client.ts";
import type { OsProcess } from "./process.ts";

/** One side of a comparison: a server and its requests. */
export interface Side {
  workerd: OsProcess;
  /** Returns the next call. Calls may differ. */
  call: () => Call;
}

/** The costs of a batch of sequential calls. */
export interface Batch {
  /** CPU time of the server per call, including its work after the responses. */
  cpuMs: number;
  /** Median time from the request to the last byte. */
  p50Ms: number;
  /** Peak memory above the memory that was resident before. */
  growthBytes: number;
}

/** Medians of the rounds; ratios and differences are of the two batches of one round. */
export interface Comparison {
  /** Of the gateway, per call. */
  cpuMs: number;
  /** Of the bare Worker, per call. */
  floorMs: number;
  cpuRatio: number;
  latencyRatio: number;
  addedMs: number;
  growthBytes: number;
}

/** A server that used at most this much CPU time in a pause is idle. */
const REST_CPU_MS = 0.5;
const REST_PAUSE_MS = 50;
const REST_WITHIN_MS = 10_000;

/** The extent of a measurement. */
export interface Effort {
  rounds: number;
  /** The number of calls before the first round, so that JIT compilation is done. */
  warmUpCalls: number;
  /** The share of a case's calls and entries, at most 1. */
  share: number;
}

/** The maximum number of warm-up batches, for cases with slow calls. */
const WARM_UP_BATCHES = 2;

export const FULL: Effort = { rounds: 5, warmUpCalls: 300, share: 1 };
/** Only checks that every case works. */
export const SMOKE: Effort = { rounds: 1, warmUpCalls: 1, share: 0.02 };

/** Returns the share of `count` for an effort, at least two. */
export function some(count: number, { share }: Effort): number {
  return Math.max(2, Math.round(count * share));
}

/**
 * Compares two sides in alternating batches, so that a slow machine slows both.
 *
 * @param calls the number of calls in a batch
 */
export async function compare(
  ours: Side,
  bare: Side,
  calls: number,
  effort: Effort,
): Promise<Comparison> {
  const warmUpCalls = Math.min(effort.warmUpCalls, WARM_UP_BATCHES * calls);
  await batch(ours, warmUpCalls);
  await batch(bare, warmUpCalls);
  const pairs: { ours: Batch; bare: Batch }[] = [];
  for (let round = 0; round < effort.rounds; round += 1) {
    const count = some(calls, effort);
    pairs.push({ ours: await batch(ours, count), bare: await batch(bare, count) });
  }
  const middle = (of: (pair: { ours: Batch; bare: Batch }) => number) => median(pairs.map(of));
  return {
    cpuMs: middle((pair) => pair.ours.cpuMs),
    floorMs: middle((pair) => pair.bare.cpuMs),
    cpuRatio: middle((pair) => pair.ours.cpuMs / pair.bare.cpuMs),
    latencyRatio: middle((pair) => pair.ours.p50Ms / pair.bare.p50Ms),
    addedMs: middle((pair) => pair.ours.p50Ms - pair.bare.p50Ms),
    growthBytes: middle((pair) => pair.ours.growthBytes),
  };
}

/** Sends calls in sequence. Returns their costs until the server is idle again. */
export async function batch({ workerd, call }: Side, calls: number): Promise<Batch> {
  await rest(workerd);
  const residentBytes = workerd.residentBytes();
  workerd.resetPeak();
  const startCpuMs = workerd.cpuMs();
  const latencies: number[] = [];
  for (let left = calls; left > 0; left -= 1) latencies.push((await send(call())).ms);
  await rest(workerd);
  return {
    cpuMs: (workerd.cpuMs() - startCpuMs) / calls,
    p50Ms: median(latencies),
    growthBytes: workerd.peakBytes() - residentBytes,
  };
}

/** Waits until a server is idle: its work after a response is part of the cost. */
export async function rest(workerd: OsProcess): Promise<void> {
  const untilMs = Date.now() + REST_WITHIN_MS;
  for (let cpuMs = workerd.cpuMs(); ;) {
    await wait(REST_PAUSE_MS);
    const spentMs = workerd.cpuMs() - cpuMs;
    if (spentMs < REST_CPU_MS) return;
    if (Date.now() > untilMs) throw new Error("the server does not become idle");
    cpuMs += spentMs;
  }
}

export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** Returns the smallest value that at least `percent` of the values do not exceed (nearest rank). */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)];
  if (value === undefined || !Number.isFinite(value)) throw new Error("nothing was measured");
  return value;
}
