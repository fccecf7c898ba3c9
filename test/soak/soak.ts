/** `npm run soak`: see README.md. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { MICRO_PER_DOLLAR } from "../../src/contract/pricing.ts";
import { bundleWorker } from "../support/bundle.ts";
import { startSimulator } from "../support/upstream/simulator.ts";
import { startReceiver } from "../support/webhooks/receiver.ts";
import {
  ALL_RETENTION_MS,
  auditDeleted,
  auditDirectory,
  auditKeyed,
  auditKeys,
  auditMoney,
  auditRepeats,
  auditRetention,
  auditServed,
  EIGHT_DAYS_MS,
  passTime,
  openToday,
} from "./audit.ts";
import { CALM, conditionsUntilKill, conditionWithoutKills } from "./conditions.ts";
import { Journal } from "./journal.ts";
import { KillableGateway, within } from "./killable.ts";
import { randomFrom, type Random } from "./random.ts";
import { bytesIn, CLASSES, SELF_CLEANING } from "./storage.ts";
import { runScenario } from "./scenarios.ts";
import { clockTime, Traffic } from "./traffic.ts";

const CLIENTS = 8;
/** `/v1/usage` has at most 2,000 rows per day, and one for each account. */
const MAX_ACCOUNTS = 1900;
/** The share of the time in which the gateway is killed. Without kills, its memory can be compared. */
const KILLING_SHARE = 0.6;
const KILL_PAUSE_MS = { min: 4000, max: 14_000 };
/** The time for which KV and the objects are disturbed in one way, without kills. */
const CONDITION_MS = 5000;
const SCENARIO_PAUSE_MS = 400;
const SCENARIOS_END_WITHIN_MS = 180_000;
const REST_MS = 3000;
const MIB = 1024 * 1024;
/** Memory up to this size is not compared, because a short run ends before workerd has warmed up. */
const MEMORY_FREE_BYTES = 512 * MIB;
/** Above the memory after the warm-up, and for each upstream call since; README.md has the figures. */
const MEMORY_SLACK_BYTES = 96 * MIB;
const MEMORY_PER_CALL_BYTES = 0.35 * MIB;

const VARS = {
  ACCESS: "token",
  UPSTREAM_TIMEOUT_SECONDS: "8",
  // The result must not depend on the date of the run.
  RETIRED_MODELS: "keep",
};

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "8" }, seed: { type: "string" } },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed ?? Math.floor(Math.random() * 1_000_000));
if (!(minutes > 0) || !Number.isInteger(seed)) {
  console.error("Usage: npm run soak -- [--minutes NUMBER] [--seed INTEGER]");
  process.exit(2);
}
console.log(`Soaking for ${minutes} min. --seed ${seed} repeats the run as nearly as possible.`);

const startedMs = Date.now();
const random = randomFrom(seed);
const journal = new Journal();
const directory = await mkdtemp(join(tmpdir(), "darkroom-soak-"));
const upstream = await startSimulator({ delayMs: 100, onCall: (call) => journal.add(call) });
const receiver = await startReceiver();
const gateway = new KillableGateway(await bundleWorker(), directory, {
  ...VARS,
  UPSTREAM_BASE_URL: upstream.baseUrl,
});
const traffic = new Traffic(`soak${seed}`, journal, gateway);
process.on("exit", () => gateway.destroy());
process.on("SIGINT", () => process.exit(130));
process.on("SIGTERM", () => process.exit(143));

const progress = setInterval(() => void report(), 10_000);

try {
  await run();
} catch (error) {
  traffic.report(`the soak itself failed: ${error instanceof Error ? error.stack : String(error)}`);
} finally {
  clearInterval(progress);
  gateway.destroy();
  await Promise.all([upstream.close(), receiver.close()]);
}
conclude();

async function run(): Promise<void> {
  await gateway.start();
  const trafficMs = minutes * 60_000;
  const endMs = Date.now() + trafficMs;
  const lastKillMs = Date.now() + trafficMs * KILLING_SHARE;
  const killing = killUntil(lastKillMs, random.fork("kills"));
  const clients = Array.from({ length: CLIENTS }, (_, index) =>
    sendUntil(endMs, random.fork(`client ${index}`)),
  );
  await killing;
  const disturbing = disturbUntil(endMs, random.fork("conditions"));
  // Halfway through the time without kills, every kind of request has warmed the gateway up.
  await sleep(Math.max(0, (endMs - Date.now()) / 2));
  const warmBytes = await gateway.request<number>("resident bytes");
  const warmCalls = journal.allCalls().length;
  await within(
    endMs - Date.now() + SCENARIOS_END_WITHIN_MS,
    Promise.all(clients),
    "scenarios are still in progress",
  );
  await disturbing;

  phase("draining");
  const money = await auditMoney(traffic);
  auditRepeats(traffic);
  const openBefore = await openToday(traffic);
  await sleep(REST_MS);
  const drainedBytes = await gateway.request<number>("resident bytes");
  const callsSince = journal.allCalls().length - warmCalls;
  const allowedBytes = warmBytes + MEMORY_SLACK_BYTES + callsSince * MEMORY_PER_CALL_BYTES;
  if (drainedBytes > Math.max(MEMORY_FREE_BYTES, allowedBytes)) {
    traffic.report(`memory grew from ${mib(warmBytes)} to ${mib(drainedBytes)}`);
  }
  const fullBytes = bytesIn(directory);
  phase("repeating requests with an Idempotency-Key an hour later");
  const repeated = await auditKeyed(traffic, directory);
  phase("setting the clock ahead by eight days");
  await passTime(traffic, directory, EIGHT_DAYS_MS, SELF_CLEANING);
  phase("requesting each image from KV");
  const served = await auditServed(traffic);
  const deleted = await auditDeleted(traffic);
  const keys = await auditKeys(traffic);
  const lines = await gateway.request<string[]>("error lines");
  await gateway.stop();
  auditDirectory(traffic, directory, openBefore);
  phase("setting the clock ahead until every retention has passed");
  await gateway.start();
  await passTime(traffic, directory, ALL_RETENTION_MS, CLASSES);
  await gateway.stop();
  const left = auditRetention(traffic, directory);
  if (traffic.findings.length > 0) console.log(lines.join("\n"));

  console.log(
    table({
      requests: listOf(traffic.sent),
      "error responses": listOf(traffic.errors),
      "upstream calls": `${journal.allCalls().length} for ${journal.prompts.size} prompts of ${journal.accounts.length} callers`,
      kills: `${gateway.kills.length} of the whole process group`,
      paid: `${usd(money.paid)} for every image that the upstream generated`,
      charged: `${usd(money.charged)}; it includes ${money.withoutCall} reservations that a kill left without a call`,
      conditions: listOf(countsOf(gateway.phases.map(({ condition }) => condition.name))),
      repeated: `${traffic.repeated} requests after a 500 because of KV or an object`,
      served: `${served} prompts from KV alone, eight days later; none of ${deleted} deleted generations`,
      "Idempotency-Keys": `${repeated} repeated an hour later, without their images in KV`,
      memory: `${mib(warmBytes)} warm, ${mib(drainedBytes)} after ${callsSince} more calls and the drain`,
      storage: `${mib(fullBytes)} before, ${mib(bytesIn(directory))} after the clean-up; ${keys} keys in KV`,
      "rows left": `${left} after all retention`,
      time: `${Math.round((Date.now() - startedMs) / 1000)} s`,
    }),
  );
}

/** Prints the progress of the run. */
async function report(): Promise<void> {
  const seconds = Math.round((Date.now() - startedMs) / 1000);
  // A gateway that is down has no memory.
  const memory = await gateway.request<number>("resident bytes").then(mib, () => "down");
  const counts = [
    `${sum(traffic.sent.values())} requests`,
    `${journal.allCalls().length} upstream calls`,
    `${gateway.kills.length} kills`,
    `${traffic.findings.length} findings`,
    `memory ${memory}`,
  ];
  console.log(`${seconds} s: ${counts.join(", ")}`);
}

/**
 * Kills the gateway at random moments, and restarts it. Before each kill, KV and the objects are disturbed: in
 * the first half of the pause in any way, then they are slow.
 */
async function killUntil(untilMs: number, random: Random): Promise<void> {
  for (;;) {
    const pauseMs = random.integer(KILL_PAUSE_MS.min, KILL_PAUSE_MS.max);
    if (Date.now() + pauseMs > untilMs) return;
    for (const condition of conditionsUntilKill(random)) {
      await gateway.setCondition(condition);
      await sleep(pauseMs / 2);
    }
    await gateway.kill();
    await gateway.start();
    for (const id of traffic.openJobs) await traffic.resumeJob(id);
  }
}

/** Disturbs KV and the objects without kills, then ends it. */
async function disturbUntil(untilMs: number, random: Random): Promise<void> {
  while (Date.now() < untilMs) {
    const leftMs = untilMs - Date.now();
    await gateway.setCondition(conditionWithoutKills(random, leftMs));
    await sleep(Math.min(CONDITION_MS, leftMs));
  }
  await gateway.setCondition(CALM);
}

/** Runs scenarios in sequence. */
async function sendUntil(untilMs: number, random: Random): Promise<void> {
  for (let index = 0; Date.now() < untilMs; index += 1) {
    const mayCreate = journal.accounts.length < MAX_ACCOUNTS;
    const ofScenario = random.fork(`scenario ${index}`);
    await runScenario({ traffic, receiver: receiver.origin, random: ofScenario }, mayCreate);
    await sleep(random.integer(0, SCENARIO_PAUSE_MS));
  }
}

function conclude(): void {
  if (traffic.findings.length === 0) {
    console.log("No findings.");
    void rm(directory, { recursive: true, force: true });
    return;
  }
  console.log(`\n${traffic.findings.length} findings; --seed ${seed}; storage: ${directory}`);
  console.log(`kills: ${gateway.kills.map(({ atMs }) => clockTime(atMs)).join(", ")}`);
  const phases = gateway.phases.map(
    ({ condition, fromMs }) => `${clockTime(fromMs)} ${condition.name}`,
  );
  console.log(`conditions: ${phases.join(", ")}`);
  for (const finding of traffic.findings) console.log(`- ${finding}`);
  process.exitCode = 1;
}

function phase(name: string): void {
  console.log(`${Math.round((Date.now() - startedMs) / 1000)} s: ${name}`);
}

function countsOf(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

function sum(values: Iterable<number>): number {
  return [...values].reduce((total, value) => total + value, 0);
}

function usd(microDollars: number): string {
  return `${(microDollars / MICRO_PER_DOLLAR).toFixed(6)} USD`;
}

function mib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`;
}

function listOf(counts: ReadonlyMap<string, number>): string {
  const sorted = [...counts].toSorted(([, a], [, b]) => b - a);
  return `${sum(counts.values())}: ${sorted.map(([name, times]) => `${times} ${name}`).join(", ")}`;
}

function table(rows: Record<string, string>): string {
  const width = Math.max(...Object.keys(rows).map((name) => name.length));
  const lines = Object.entries(rows).map(([name, value]) => `${name.padEnd(width)}  ${value}`);
  return `\n${lines.join("\n")}\n`;
}
