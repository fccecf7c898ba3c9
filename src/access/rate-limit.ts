import type { Config } from "../config/environment.ts";
import { GatewayError } from "../errors/failure.ts";

/** The platform's limits, as wrangler.toml sets them: the binding does not tell. */
export const RATE_LIMITS = {
  /** Every request for a picture. */
  requests: { limit: 300, periodSeconds: 60 },
  /** Those that are not answered with what was made before, and may cost money. */
  generations: { limit: 20, periodSeconds: 60 },
} as const;

/**
 * The value of a RateLimit-Policy header (draft-ietf-httpapi-ratelimit-headers-10): how many in how
 * many seconds. What is left of them the platform does not tell, so that only an answer that refuses
 * carries RateLimit itself.
 */
export const RATE_LIMIT_POLICY = Object.entries(RATE_LIMITS)
  .map(([name, { limit, periodSeconds }]) => `"${name}";q=${limit};w=${periodSeconds}`)
  .join(", ");

export type RateLimited = keyof typeof RATE_LIMITS;

/**
 * Counts a request against a limit of its caller.
 *
 * @param key whose limit: a token's subject, or a network
 * @throws {GatewayError} `rate_limit_exceeded`
 */
export async function limitRate(config: Config, limited: RateLimited, key: string): Promise<void> {
  const { success } = await config.rateLimits[limited].limit({ key });
  if (success) return;
  const { periodSeconds } = RATE_LIMITS[limited];
  throw new GatewayError({
    code: "rate_limit_exceeded",
    reason: limited,
    retryAfterSeconds: periodSeconds,
    policy: RATE_LIMIT_POLICY,
  });
}

/**
 * The network of a client, as far as one client may choose its addresses: an IPv4 address, or the
 * first 64 bits of an IPv6 one (RFC 6177).
 *
 * @param address as the platform tells it; `undefined` where there is none, as in local development
 */
export function networkOf(address: string | undefined): string {
  if (address === undefined || !address.includes(":")) return address ?? "local";
  // The URL parser writes every notation in one way (WHATWG URL, 3.5, "IPv6 serializer").
  const canonical = URL.parse(`http://[${address}]/`)?.hostname.slice(1, -1);
  if (canonical === undefined) return "unknown";
  const [head = "", tail] = canonical.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return `${[...before, ...zeros, ...after].slice(0, 4).join(":")}::/64`;
}
