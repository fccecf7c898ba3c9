import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { signQuery } from "../../src/access/signed-url.ts";
import { mintToken } from "../../src/access/token.ts";
import { startGateway, type Gateway } from "../support/gateway.ts";
import { send, type ReceivedResponse, type Call, type Expectation } from "./client.ts";
import { delayedWorker, setDelays, type Delays } from "./delayed.ts";
import { cachedRecords } from "./servers.ts";
import { LASTING, SMALL, startUpstream } from "./upstream.ts";
import { TOKEN_SECRET } from "../support/vars.ts";

/** Calls that a request waits for one after another. Calls that it sends at the same time are one wait. */
export interface Waits {
  /** Of KV and of Durable Objects. */
  storage: number;
  /** Of rate limits. */
  rateLimits: number;
}

/** The sequential waits of a kind of request, or their upper bound. */
interface ColdAndHot {
  /** This isolate has never read the record, the token or the caller's account. */
  cold: Waits;
  /** This isolate has just done so. */
  hot: Waits;
}

/** One row of the table of waits. */
export interface WaitsRow extends ColdAndHot {
  name: string;
  atMost: ColdAndHot;
}

/** The data of one measurement, which no other measurement shares. */
interface Subject {
  /** Without a trailing slash. */
  gatewayUrl: string;
  prompt: string;
  /** The id of the generation of that prompt, if it is in KV; otherwise empty. */
  id: string;
  /** The first three numbers of an IPv4 address: no other measurement sends from there. */
  network: string;
}

type Headers = Record<string, string>;

type Subjects = ReadonlyMap<Case, readonly Subject[]>;

interface Steps {
  cold: Call;
  /** Sent after the cold request, without being measured. */
  between?: Call;
  hot: Call;
}

interface Case {
  name: string;
  /** True if the requests are for a generation that is in KV. */
  isStored: boolean;
  /** True if the latency ends with the first event instead of the last byte. */
  toFirstEvent?: boolean;
  atMost: ColdAndHot;
  /** Prepares a measurement and returns its requests. */
  steps(subject: Subject): Steps | Promise<Steps>;
}

/** Large compared with the noise of a busy machine. */
const DELAY_MS = 400;
/** The number of runs without delay. The lowest of their latencies, cold or hot, is the latency without delay. */
const UNDELAYED_RUNS = 2;
/**
 * The number of cases that are measured concurrently, in the first attempt and in each retry. They compete for the
 * CPU, which only adds to their latencies. A row with a figure above its bound is measured again with fewer concurrent cases.
 */
const AT_ONCE: readonly number[] = [6, 3, 1, 1];

const TTL_SECONDS = 3600;

const both = (storage: number, rateLimits: number): ColdAndHot => ({
  cold: { storage, rateLimits },
  hot: { storage, rateLimits },
});

const HIT: Expectation = { status: 200, cache: "hit" };
const MISS: Expectation = { status: 200, cache: "fwd=miss; stored" };
const JOINED: Expectation = { status: 202, cache: "fwd=miss; collapsed" };
const ASYNC = { prefer: "respond-async" };

/** Every kind of request, with the upper bound of its waits. */
const CASES: readonly Case[] = [
  {
    name: "hit, by URL",
    isStored: true,
    atMost: both(1, 1),
    steps: (subject) => twice(post(subject, byUrl(subject), HIT)),
  },
  {
    name: "hit, base64",
    isStored: true,
    atMost: both(2, 1),
    steps: (subject) => twice(post(subject, { prompt: subject.prompt }, HIT)),
  },
  {
    name: "hit, image bytes",
    isStored: true,
    atMost: both(2, 1),
    steps: (subject) =>
      twice(post(subject, { prompt: subject.prompt }, HIT, { accept: "image/*" })),
  },
  {
    name: "hit, stream",
    isStored: true,
    atMost: both(2, 1),
    steps: (subject) => twice(post(subject, { prompt: subject.prompt, stream: true }, HIT)),
  },
  {
    name: "hit, signed <img>",
    isStored: true,
    atMost: both(2, 1),
    async steps(subject) {
      const expires = Math.floor(Date.now() / 1000) + TTL_SECONDS;
      const query = await signQuery({ prompt: subject.prompt }, expires, TOKEN_SECRET);
      return twice(get(subject, `/v1/images/generations?${query}`, HIT));
    },
  },
  {
    name: "hit, by URL, fresh token",
    isStored: true,
    atMost: { cold: { storage: 2, rateLimits: 1 }, hot: { storage: 1, rateLimits: 1 } },
    async steps(subject) {
      const cold = await freshToken();
      // A revocation lookup is cached for only a second, so the hot request has a newer token.
      const hot = await freshToken();
      return {
        cold: post(subject, byUrl(subject), HIT, cold),
        between: beyondLimits(subject, hot),
        hot: post(subject, byUrl(subject), HIT, hot),
      };
    },
  },
  {
    name: "poll, completed",
    isStored: true,
    atMost: both(1, 1),
    steps: (subject) =>
      twice(get(subject, `/v1/images/generations/${subject.id}?response_format=url`, HIT)),
  },
  {
    name: "poll, in progress",
    isStored: false,
    atMost: both(3, 1),
    async steps(subject) {
      const { id } = await startedElsewhere(subject);
      return twice(get(subject, `/v1/images/generations/${id}?response_format=url`, JOINED));
    },
  },
  {
    name: "image file",
    isStored: true,
    atMost: both(1, 1),
    steps: (subject) => twice(get(subject, `/v1/images/${subject.id}/0.png`, { status: 200 })),
  },
  {
    name: "miss, base64",
    isStored: false,
    atMost: both(3, 1),
    steps: (subject) => misses(subject, {}),
  },
  {
    name: "miss, by URL",
    isStored: false,
    atMost: both(3, 1),
    steps: (subject) => misses(subject, { response_format: "url" }),
  },
  {
    name: "miss, token with a budget",
    isStored: false,
    atMost: { cold: { storage: 4, rateLimits: 1 }, hot: { storage: 3, rateLimits: 1 } },
    async steps(subject) {
      const token = await freshToken({ budget_usd: 1 });
      const { cold, hot } = misses(subject, {}, { cold: token, hot: token });
      return { cold, between: beyondLimits(subject, token), hot };
    },
  },
  {
    name: "miss, Idempotency-Key",
    isStored: false,
    atMost: both(3, 1),
    steps: (subject) =>
      misses(
        subject,
        {},
        {
          cold: { "idempotency-key": crypto.randomUUID() },
          hot: { "idempotency-key": crypto.randomUUID() },
        },
      ),
  },
  {
    name: "miss, stream, to its first partial image",
    isStored: false,
    toFirstEvent: true,
    atMost: both(4, 1),
    steps: (subject) => misses(subject, { stream: true, partial_images: 1 }),
  },
  {
    name: "join, to its 202",
    isStored: false,
    atMost: both(2, 1),
    async steps(subject) {
      const { prompt } = await startedElsewhere(subject);
      return twice(post(subject, { prompt }, JOINED, ASYNC));
    },
  },
];

/** The names of all rows, in the order in which they are measured. */
export const WAITS: readonly string[] = CASES.map(({ name }) => name);

/**
 * Measures the sequential waits of requests: (latency - latency without delay) / delay, rounded.
 *
 * Generations that must be in KV are created by another gateway on the same storage, so that they are cold in
 * the one that is measured. A row with a figure above its bound is measured again, and the lowest figure counts.
 *
 * @param bundle the path of the bundle
 * @param names of the rows
 */
export async function measureWaits(
  bundle: string,
  names: readonly string[] = WAITS,
): Promise<WaitsRow[]> {
  const cases = CASES.filter(({ name }) => names.includes(name));
  const upstream = await startUpstream();
  const directory = await mkdtemp(join(tmpdir(), "darkroom-waits-"));
  const vars = { UPSTREAM_BASE_URL: upstream.baseUrl };
  try {
    const seeding = await startGateway(bundle, vars, { directory });
    const subjects = await closing(seeding, () => seeded(seeding, cases));
    const gateway = await startGateway(bundle, vars, { directory, wrap: delayedWorker });
    return await closing(gateway, () => rowsOf(subjects, gateway.url));
  } finally {
    upstream.close();
    await rm(directory, { recursive: true });
  }
}

/** Calls `use`, then closes the gateway. */
async function closing<Result>(gateway: Gateway, use: () => Promise<Result>): Promise<Result> {
  try {
    return await use();
  } finally {
    await gateway.close();
  }
}

/** Returns true if a figure of a row is above its bound. */
export function isAboveBound(
  { cold, hot, atMost }: WaitsRow,
  kinds: readonly (keyof Waits)[] = KINDS,
): boolean {
  return kinds.some((kind) => cold[kind] > atMost.cold[kind] || hot[kind] > atMost.hot[kind]);
}

/** The head of the table of waits in Markdown. */
export const WAITS_HEAD: readonly string[] = [
  "| sequential waits | cold | hot | rate limits, cold | rate limits, hot |",
  "| --- | ---: | ---: | ---: | ---: |",
];

/** Returns a row in Markdown: each figure with its bound, in bold if it is above. */
export function waitsLine({ name, cold, hot, atMost }: WaitsRow): string {
  const cell = (value: number, bound: number) =>
    `${value > bound ? `**${value}**` : value} (${bound})`;
  const cells = [
    name,
    cell(cold.storage, atMost.cold.storage),
    cell(hot.storage, atMost.hot.storage),
    cell(cold.rateLimits, atMost.cold.rateLimits),
    cell(hot.rateLimits, atMost.hot.rateLimits),
  ];
  return `| ${cells.join(" | ")} |`;
}

/** Milliseconds. */
type Latency = Record<keyof ColdAndHot, number>;

const DELAYS: Readonly<Record<keyof Waits, Delays>> = {
  storage: { kv: DELAY_MS, objects: DELAY_MS, rateLimits: 0 },
  rateLimits: { kv: 0, objects: 0, rateLimits: DELAY_MS },
};
const KINDS = ["storage", "rateLimits"] as const;

const UNMEASURED: Waits = {
  storage: Number.POSITIVE_INFINITY,
  rateLimits: Number.POSITIVE_INFINITY,
};

/** The number of subjects of a case: one for all runs without delay, and one for each delayed run. */
const SUBJECTS = 1 + AT_ONCE.length * KINDS.length;

/** Returns the subjects of each case, one for each measurement. Those that must be stored are in KV. */
async function seeded(gateway: Gateway, cases: readonly Case[]): Promise<Subjects> {
  const subjects = new Map<Case, Subject[]>();
  for (const [row, each] of cases.entries()) {
    const { name, isStored } = each;
    const ofCase = Array.from({ length: SUBJECTS }, async (_, run) => {
      const prompt = `${SMALL} image of ${name}, run ${run}`;
      const subject = { gatewayUrl: gateway.url, prompt, id: "", network: `10.${row}.${run}` };
      return isStored ? { ...subject, id: await created(subject) } : subject;
    });
    subjects.set(each, await Promise.all(ofCase));
  }
  await cachedRecords(gateway, cases.filter(({ isStored }) => isStored).length * SUBJECTS);
  return subjects;
}

async function rowsOf(subjects: Subjects, gatewayUrl: string): Promise<WaitsRow[]> {
  const undelayedMs = new Map<Case, number>();
  const rows = new Map<Case, WaitsRow>();
  for (const [each, [subject]] of subjects) {
    if (subject === undefined) throw new Error("every case has a subject");
    const { name, atMost } = each;
    rows.set(each, { name, cold: UNMEASURED, hot: UNMEASURED, atMost });
    let leastMs = Number.POSITIVE_INFINITY;
    for (let run = 0; run < UNDELAYED_RUNS; run += 1) {
      const { cold, hot } = await latencyOf(each, { ...subject, gatewayUrl });
      leastMs = Math.min(leastMs, cold, hot);
    }
    undelayedMs.set(each, leastMs);
  }
  for (const [tries, atOnce] of AT_ONCE.entries()) {
    for (const [number, kind] of KINDS.entries()) {
      const left = [...rows]
        .filter(([, row]) => isAboveBound(row, [kind]))
        // The longest first, so that all end at about the same time.
        .toSorted(([a], [b]) => b.atMost.cold.storage - a.atMost.cold.storage);
      const measure = async (lane: number) => {
        // Equal delays end at the same time, unless they start apart.
        await wait((lane * DELAY_MS) / atOnce);
        for (let next = left.shift(); next !== undefined; next = left.shift()) {
          const [each, { name }] = next;
          const subject = subjects.get(each)?.[1 + tries * KINDS.length + number];
          if (subject === undefined) throw new Error(`no subject is left for ${name}`);
          const latency = await latencyOf(each, { ...subject, gatewayUrl });
          const row = rows.get(each) ?? next[1];
          const least = (of: keyof Latency): Waits => {
            const delayedMs = latency[of] - (undelayedMs.get(each) ?? Number.NaN);
            const waits = Math.max(0, Math.round(delayedMs / DELAY_MS));
            return { ...row[of], [kind]: Math.min(row[of][kind], waits) };
          };
          rows.set(each, { ...row, cold: least("cold"), hot: least("hot") });
        }
      };
      if (left.length > 0) await setDelays(gatewayUrl, DELAYS[kind]);
      await Promise.all(
        Array.from({ length: Math.min(atOnce, left.length) }, (_, lane) => measure(lane)),
      );
    }
  }
  return [...rows.values()];
}

async function latencyOf(each: Case, subject: Subject): Promise<Latency> {
  const { cold, between, hot } = await each.steps(subject);
  const latencyMs = async (call: Call) => {
    const { ms, firstByteMs } = await send(call);
    return each.toFirstEvent === true ? firstByteMs : ms;
  };
  const coldMs = await latencyMs(cold);
  if (between !== undefined) await send(between);
  return { cold: coldMs, hot: await latencyMs(hot) };
}

function post(
  { gatewayUrl, network }: Subject,
  body: object,
  expect: Expectation,
  headers: Headers = {},
): Call {
  return {
    url: `${gatewayUrl}/v1/images/generations`,
    method: "POST",
    headers: {
      "content-type": "application/json",
      "cf-connecting-ip": `${network}.1`,
      ...headers,
    },
    body: JSON.stringify(body),
    expect,
  };
}

function get({ gatewayUrl, network }: Subject, path: string, expect: Expectation): Call {
  return { url: `${gatewayUrl}${path}`, headers: { "cf-connecting-ip": `${network}.1` }, expect };
}

function twice(call: Call): Steps {
  return { cold: call, hot: call };
}

function byUrl({ prompt }: Subject): object {
  return { prompt, response_format: "url" };
}

/** Returns two misses of one caller. Its account is cold for the first. */
function misses(
  subject: Subject,
  more: object,
  headers: { cold?: Headers; hot?: Headers } = {},
): Steps {
  const miss = (which: "cold" | "hot") =>
    post(subject, { prompt: newPrompt(SMALL), ...more }, MISS, headers[which]);
  return { cold: miss("cold"), hot: miss("hot") };
}

/** Creates the generation of a subject and returns its id. */
async function created(subject: Subject): Promise<string> {
  return idIn(await send(post(subject, byUrl(subject), MISS)));
}

function newPrompt(directive: string): string {
  return `${directive} image ${crypto.randomUUID()}`;
}

/** Starts a generation that stays in progress, as another caller. */
async function startedElsewhere(subject: Subject): Promise<{ id: string; prompt: string }> {
  const elsewhere = { ...subject, network: subject.network.replace("10.", "172.") };
  const prompt = newPrompt(LASTING);
  const expect = { status: 202, cache: "fwd=miss; stored" };
  return { id: idIn(await send(post(elsewhere, { prompt }, expect, ASYNC))), prompt };
}

function idIn({ firstChunk }: ReceivedResponse): string {
  const { id }: { id: string } = JSON.parse(firstChunk.toString());
  return id;
}

/** Returns the header with a token that no isolate has seen. */
async function freshToken(limits: { budget_usd?: number } = {}): Promise<Headers> {
  const options = {
    sub: `caller-${crypto.randomUUID()}`,
    ttlSeconds: TTL_SECONDS,
    nowSeconds: Math.floor(Date.now() / 1000),
    limits: { ...limits, max_n: 1 },
  };
  return { authorization: `Bearer ${(await mintToken([TOKEN_SECRET], options)).token}` };
}

/** Returns a request that is rejected after the token's revocation was looked up, without any other wait. */
function beyondLimits(subject: Subject, token: Headers): Call {
  return post(subject, { prompt: subject.prompt, n: 2 }, { status: 400 }, token);
}
