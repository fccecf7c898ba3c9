import type { Config } from "../config/environment.ts";
import { GatewayError, secretNotSet } from "../errors/failure.ts";
import { sha256 } from "../lib/sha256.ts";
import { bearerOf } from "./bearer.ts";
import { isWithinRate, RATE_LIMIT, rateLimitExceeded } from "./rate-limit.ts";

/** The parts of a request that requires the admin key. */
export interface AdminRequest {
  /** The value of the Authorization header, `Bearer <admin key>`. */
  authorization: string | undefined;
  /** The client's network (`networkOf`). */
  network: string;
}

/**
 * The networks that have sent too many wrong keys, each with the time until which this isolate rejects it,
 * in milliseconds since the epoch. The oldest is first.
 */
const rejectedUntilMs = new Map<string, number>();
const MAX_REJECTED_NETWORKS = 1000;

/**
 * Requires the operator's admin key.
 *
 * Only wrong keys are counted, because a back end with the right one may create many tokens. Once there are
 * too many from a network, every key from it is rejected for a minute, even the right one: otherwise the
 * responses would still tell which key is right.
 *
 * @throws {GatewayError} `missing_token`, `invalid_token`; `rate_limit_exceeded` after too many wrong keys;
 *   `misconfigured` if `ADMIN_KEY` is not set
 */
export async function requireAdmin(
  config: Config,
  { authorization, network }: AdminRequest,
): Promise<void> {
  const { adminKey } = config;
  if (adminKey === undefined) throw secretNotSet("ADMIN_KEY");
  const token = bearerOf(authorization, "admin key");
  const remainingMs = (rejectedUntilMs.get(network) ?? 0) - Date.now();
  if (remainingMs > 0) throw rateLimitExceeded(config, Math.ceil(remainingMs / 1000));
  // A comparison in constant time requires values of equal length, so it compares digests.
  const [given, expected] = await Promise.all([sha256(token), sha256(adminKey)]);
  if (crypto.subtle.timingSafeEqual(given, expected)) return;
  if (!(await isWithinRate(config, `admin/${network}`))) {
    const { periodSeconds } = RATE_LIMIT;
    reject(network, periodSeconds);
    throw rateLimitExceeded(config, periodSeconds);
  }
  throw new GatewayError({ code: "invalid_token", credential: "admin key", problem: "mismatch" });
}

function reject(network: string, seconds: number): void {
  // Inserted anew, so that it is the last one.
  rejectedUntilMs.delete(network);
  rejectedUntilMs.set(network, Date.now() + seconds * 1000);
  const [oldest] = rejectedUntilMs.keys();
  if (oldest !== undefined && rejectedUntilMs.size > MAX_REJECTED_NETWORKS) {
    rejectedUntilMs.delete(oldest);
  }
}
