import { readFile } from "node:fs/promises";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { CLOCK_PATH, clockedWorker } from "./test-clock.ts";
import { webhookSecret } from "./webhooks/secret.ts";
import { TOKEN_SECRET } from "./vars.ts";

/** The bundled Worker, listening on a port of the loopback interface. */
export interface Gateway {
  /** Without a trailing slash. */
  url: string;
  /** Returns its log so far. */
  logs(): string;
  /** Its KV namespace. */
  cache: Awaited<ReturnType<Miniflare["getKVNamespace"]>>;
  /** Sets its clock, in milliseconds since the epoch. Requires `nowMs` at the start. */
  setClock(nowMs: number): Promise<void>;
  close(): Promise<void>;
}

export interface GatewayOptions {
  /** The folder in which KV and the Durable Objects store their data. Absent: memory. */
  directory?: string;
  /** Requests per minute of one network. */
  rateLimit?: number;
  /** Its time at the start, in milliseconds since the epoch. Absent: the machine's time. */
  nowMs?: number;
  /**
   * Returns the source of an entry module, given the module name of the bundle that it wraps. Absent: the
   * bundle alone, or behind a clock if `nowMs` is set.
   */
  wrap?: (bundle: string) => string;
}

/** Distinctive, so that a test can search for it in logs and responses. */
export const UPSTREAM_KEY = "sk-test-9f8e7d6c5b4a39281706";
export const ADMIN_KEY = "admin-3e1f5a7c9b2d4e6f";
export const WEBHOOK_SECRET = webhookSecret("in");
export const WEBHOOK_SIGNING_SECRET = webhookSecret("out");

/**
 * Starts the bundled Worker on Miniflare, without a development proxy in front of it.
 *
 * @param bindings vars and secrets that override those of tests; `undefined` unsets one
 */
export async function startGateway(
  bundle: string,
  bindings: Record<string, string | undefined>,
  {
    directory,
    rateLimit = 1_000_000,
    nowMs,
    wrap = nowMs === undefined ? undefined : clockedWorker,
  }: GatewayOptions = {},
): Promise<Gateway> {
  const lines: string[] = [];
  const vars: Record<string, string | undefined> = {
    UPSTREAM_API_KEY: UPSTREAM_KEY,
    ADMIN_KEY,
    TOKEN_SECRET,
    LOCAL_DEVELOPMENT: "true",
    WEBHOOK_HOSTS: "127.0.0.1",
    WEBHOOK_SECRET,
    WEBHOOK_SIGNING_SECRET,
    // Tests send more requests, and more at once, than the limits of a deployment allow.
    BUDGET_USD_PER_DAY: "100000",
    GENERATIONS_PER_MINUTE: "1000000",
    MAX_BLOCKS_PER_CALLER_PER_DAY: "1000000",
    MAX_CONCURRENT_PER_CALLER: "1000000",
    MAX_OPEN_JOBS_PER_CALLER: "1000000",
    ...bindings,
  };
  const simple = { limit: rateLimit, period: 60 } as const;
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      name: "darkroom",
      ...(await modulesOf(bundle, wrap)),
      compatibilityDate: "2026-10-23",
      kvNamespaces: ["CACHE"],
      durableObjects: {
        GENERATION: { className: "Generation", useSQLite: true },
        IDEMPOTENCY: { className: "IdempotencyKey", useSQLite: true },
        BUDGET: { className: "Budget", useSQLite: true },
        REVOCATIONS: { className: "Revocations", useSQLite: true },
        JOBS: { className: "Jobs", useSQLite: true },
      },
      workflows: { IMAGE_JOB: { name: "image-job", className: "ImageJob" } },
      ratelimits: { RATE_LIMIT_REQUESTS: { namespace_id: "1001", simple } },
      bindings: Object.fromEntries(
        Object.entries(vars).filter((entry): entry is [string, string] => entry[1] !== undefined),
      ),
      host: "127.0.0.1",
      port: 0,
      cf: false,
      ...(directory === undefined ? {} : { resourcePersistencePath: directory }),
      handleStructuredLogs: ({ message }) => lines.push(message),
    }),
  );
  const url = await miniflare.ready;
  const setClock = async (to: number) => {
    const { status } = await fetch(`${url.origin}${CLOCK_PATH}${to}`);
    if (status !== 204) throw new Error("the gateway was started without a clock");
  };
  if (nowMs !== undefined) await setClock(nowMs);
  return {
    setClock,
    url: url.origin,
    logs: () => lines.join("\n"),
    cache: await miniflare.getKVNamespace("CACHE"),
    close: () => miniflare.dispose(),
  };
}

/** Sends a POST to `/v1/images/generations` with a JSON body. */
export function postGeneration(
  { url }: Pick<Gateway, "url">,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${url}/v1/images/generations`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
}

/** Returns the Worker's modules: the bundle alone, or an entry module that wraps it. */
async function modulesOf(bundle: string, wrap: GatewayOptions["wrap"]) {
  if (wrap === undefined) return { modules: true as const, modulesRoot: "/", scriptPath: bundle };
  const name = "bundle.js";
  return {
    modules: [
      { type: "ESModule" as const, path: "entry.js", contents: wrap(name) },
      { type: "ESModule" as const, path: name, contents: await readFile(bundle, "utf8") },
    ],
  };
}
