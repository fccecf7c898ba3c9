import { setTimeout as wait } from "node:timers/promises";
import { send, type Call } from "./client.ts";
import type { OsProcess } from "./process.ts";

/** One side of a comparison: a server, and what is asked of it. */
export interface Side {
  workerd: OsProcess;
  /** A new call; each may be another one. */
  call: () => Call;
}

/** What a batch of calls, one after another, took. */
export interface Batch {
  /** Of the server, per call, with what it still did after its answers. */
  cpuMs: number;
  /** From the request to the last byte; the median. */
  p50Ms: number;
  /** How far memory rose above what was resident before. */
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

/** A server that spent no more than this in a pause has come to rest. */
const REST_CPU_MS = 0.5;
const REST_PAUSE_MS = 50;
const REST_WITHIN_MS = 10_000;

/** How much is measured. */
export interface Effort {
  rounds: number;
  /** Calls before the first round: compilers come to rest too. */
  warmUpCalls: number;
  /** How many of a case's calls and entries: all of them, or a few. */
  share: number;
}

/** Of a case whose calls are slow, this is enough. */
const WARM_UP_BATCHES = 2;

export const FULL: Effort = { rounds: 5, warmUpCalls: 300, share: 1 };
/** Whether all of it works. */
export const SMOKE: Effort = { rounds: 1, warmUpCalls: 1, share: 0.02 };

/** So many of `count`, at least two. */
export function some(count: number, { share }: Effort): number {
  return Math.max(2, Math.round(count * share));
}

/**
 * Compares two sides, round by round in turns, so that a machine that slows down slows both.
 *
 * @param calls in a batch
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

/** Calls one after another, and what they cost until the server is at rest again. */
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

/** Waits until a server does nothing more: what goes on after an answer is a part of its cost. */
async function rest(workerd: OsProcess): Promise<void> {
  const untilMs = Date.now() + REST_WITHIN_MS;
  for (let cpuMs = workerd.cpuMs(); ;) {
    await wait(REST_PAUSE_MS);
    const spentMs = workerd.cpuMs() - cpuMs;
    if (spentMs < REST_CPU_MS) return;
    if (Date.now() > untilMs) throw new Error("the server does not come to rest");
    cpuMs += spentMs;
  }
}

export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** The smallest value that so many per cent of all do not exceed. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)];
  if (value === undefined || !Number.isFinite(value)) throw new Error("nothing was measured");
  return value;
}
