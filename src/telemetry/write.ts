import type { Config } from "../config/environment.ts";
import { sha256 } from "../lib/sha256.ts";
import { log, type LogFields } from "./log.ts";

/** The fields for Analytics Engine, in this order (`blob1`, `blob2` … and `double1` …). */
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
 * Writes the event of a request as one log line, and as a data point if Analytics Engine is bound.
 *
 * @param account the account of the caller. Only a hash is written. It includes a secret of the
 *   gateway, because the network in an anonymous account is easily guessed.
 * @param config `undefined` if the gateway is misconfigured
 */
export async function writeEvent(
  fields: LogFields,
  account: string | undefined,
  config: Config | undefined,
): Promise<void> {
  const caller =
    account === undefined || config === undefined ? undefined : await callerHash(account, config);
  const event: LogFields = { ...fields, caller };
  log("info", "request", event);
  config?.analytics?.writeDataPoint({
    indexes: [String(event["route"])],
    blobs: BLOBS.map((name) => textOf(event[name])),
    doubles: DOUBLES.map((name) => Number(event[name] ?? 0)),
  });
}

function textOf(value: LogFields[string]): string | null {
  return value === undefined || value === null ? null : String(value);
}

/** Enough to distinguish callers. */
const HASH_BYTES = 8;

async function callerHash(account: string, { upstream, adminKey }: Config): Promise<string> {
  const secret = upstream.apiKey ?? adminKey ?? crypto.randomUUID();
  return new Uint8Array(await sha256(`${secret} ${account}`), 0, HASH_BYTES).toHex();
}
