import type { Config } from "../config/environment.ts";
import { log, type LogFields } from "./log.ts";

/** What of an event goes to Analytics Engine, in this order (`blob1`, `blob2` … and `double1` …). */
const BLOBS = [
  "request_id",
  "route",
  "method",
  "caller",
  "model",
  "size",
  "quality",
  "cache",
  "error",
  "generation",
  "upstream_model",
] as const;
const DOUBLES = ["status", "n", "bytes", "upstream_ms", "total_ms", "cost_usd"] as const;

/**
 * Writes the event of a request: one line of the log, and a data point where Analytics Engine is bound.
 *
 * @param account whose it is; only its hash is written, with a secret of the gateway in it: a network
 *   is easily guessed
 * @param config `undefined` where the gateway is set up wrongly
 */
export async function writeEvent(
  fields: LogFields,
  account: string | undefined,
  config: Config | undefined,
): Promise<void> {
  const caller =
    account === undefined || config === undefined ? undefined : await callerHash(account, config);
  const all: LogFields = { ...fields, caller };
  log("info", "request", all);
  config?.analytics?.writeDataPoint({
    indexes: [String(all["route"])],
    blobs: BLOBS.map((name) => textOf(all[name])),
    doubles: DOUBLES.map((name) => Number(all[name] ?? 0)),
  });
}

function textOf(value: LogFields[string]): string | null {
  return value === undefined || value === null ? null : String(value);
}

/** As many as tell callers apart. */
const HASH_BYTES = 8;

async function callerHash(account: string, { upstream, adminKey }: Config): Promise<string> {
  const secret = upstream.apiKey ?? adminKey ?? crypto.randomUUID();
  const text = new TextEncoder().encode(`${secret} ${account}`);
  const digest = await crypto.subtle.digest("SHA-256", text);
  return new Uint8Array(digest, 0, HASH_BYTES).toHex();
}
