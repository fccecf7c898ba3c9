import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { startGateway, type Gateway } from "../support/gateway.ts";
import type { Call, Expectation } from "./client.ts";
import { withWorkerd, type OsProcess } from "./process.ts";
import { startUpstream, type InstantUpstream } from "./upstream.ts";

/** The servers of a benchmark, each workerd in its own process. */
export interface Servers {
  upstream: InstantUpstream;
  gateway: Gateway & { workerd: OsProcess };
  bare: BareWorker & { workerd: OsProcess };
  close(): Promise<void>;
}

/** The bare Worker, which the gateway is compared with. */
export interface BareWorker {
  /** Without a trailing slash. */
  url: string;
  cache: Gateway["cache"];
  close(): Promise<void>;
}

/**
 * Starts all servers: the gateway as it is deployed, on Miniflare without a development proxy.
 *
 * @param bundle the path of the bundle
 */
export async function startServers(bundle: string): Promise<Servers> {
  const upstream = await startUpstream();
  const ours = await withWorkerd(() =>
    startGateway(bundle, { UPSTREAM_BASE_URL: upstream.baseUrl }),
  );
  const bare = await withWorkerd(() => startBareWorker(upstream.baseUrl));
  return {
    upstream,
    gateway: { ...ours.started, workerd: ours.workerd },
    bare: { ...bare.started, workerd: bare.workerd },
    async close() {
      await ours.started.close();
      await bare.started.close();
      upstream.close();
    },
  };
}

/**
 * Starts the bare Worker.
 *
 * @param directory in which its KV stores the data; absent: memory
 */
export async function startBareWorker(
  upstreamUrl: string,
  directory?: string,
): Promise<BareWorker> {
  const script = await readFile(join(import.meta.dirname, "bare-worker.js"), "utf8");
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      name: "bare",
      modules: true,
      script,
      compatibilityDate: "2026-10-23",
      kvNamespaces: ["CACHE"],
      durableObjects: { STORING: { className: "StoringObject", useSQLite: true } },
      bindings: { UPSTREAM: upstreamUrl },
      ratelimits: { LIMIT: { namespace_id: "1", simple: { limit: 1_000_000, period: 60 } } },
      host: "127.0.0.1",
      port: 0,
      cf: false,
      ...(directory === undefined ? {} : { resourcePersistencePath: directory }),
    }),
  );
  const { origin } = await miniflare.ready;
  const cache = await miniflare.getKVNamespace("CACHE");
  return { url: origin, cache, close: () => miniflare.dispose() };
}

/** Returns a generation request to the gateway. */
export function generation(
  { gateway }: { gateway: Pick<Gateway, "url"> },
  body: object,
  expect: Expectation,
): Call {
  return {
    url: `${gateway.url}/v1/images/generations`,
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    expect,
  };
}

const CACHED_WITHIN_MS = 60_000;

/** Waits until KV has `least` records, so that their requests are hits. Returns the number of records. */
export async function cachedRecords(
  { cache }: Pick<Gateway, "cache">,
  least: number,
): Promise<number> {
  const untilMs = Date.now() + CACHED_WITHIN_MS;
  for (;;) {
    const count = await countRecords(cache);
    if (count >= least) return count;
    if (Date.now() > untilMs) throw new Error("the gateway does not cache its generations");
    await wait(200);
  }
}

/** Counts the records in KV, which lists at most 1000 keys at a time. */
async function countRecords(cache: Gateway["cache"]): Promise<number> {
  let count = 0;
  for (let cursor: string | undefined; ;) {
    const page = await cache.list({
      prefix: "request/",
      ...(cursor === undefined ? {} : { cursor }),
    });
    count += page.keys.length;
    if (page.list_complete) return count;
    cursor = page.cursor;
  }
}
