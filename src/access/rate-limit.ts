import type { Config } from "../config/environment.ts";
import { GatewayError } from "../errors/failure.ts";
import { within } from "../lib/within.ts";

/**
 * The limit of requests in wrangler.toml, repeated here because the binding does not expose it. Image URLs,
 * webhooks and wrong admin keys are counted by network, apart from other requests.
 */
export const RATE_LIMIT = { limit: 300, periodSeconds: 60 } as const;

/**
 * Returns the value of a RateLimit-Policy header (draft-ietf-httpapi-ratelimit-headers-10): quotas and their
 * windows in seconds. The platform does not report the remaining quota, so only a 429 response has a
 * RateLimit header.
 */
export function rateLimitPolicy({
  generationsPerMinute,
}: Pick<Config, "generationsPerMinute">): string {
  const { limit, periodSeconds } = RATE_LIMIT;
  return `"requests";q=${limit};w=${periodSeconds}, "generations";q=${generationsPerMinute};w=60`;
}

/**
 * Counts a request against the rate limit of its caller.
 *
 * @param key identifies the caller: its token, or its network
 * @throws {GatewayError} `rate_limit_exceeded`
 */
export async function limitRate(config: Config, key: string): Promise<void> {
  if (!(await isWithinRate(config, key))) {
    throw rateLimitExceeded(config, RATE_LIMIT.periodSeconds);
  }
}

/** The time that the rate limit may take. The platform keeps it on the machine that serves the request. */
const LIMIT_MS = 5000;

/** Counts a request like `limitRate`. Returns false if the limit is exceeded. */
export async function isWithinRate({ requestLimit }: Config, key: string): Promise<boolean> {
  const { success } = await within(LIMIT_MS, requestLimit.limit({ key }));
  return success;
}

/** Creates the error for an exceeded rate limit. */
export function rateLimitExceeded(config: Config, retryAfterSeconds: number): GatewayError {
  const policy = rateLimitPolicy(config);
  const reason = "requests";
  return new GatewayError({ code: "rate_limit_exceeded", reason, retryAfterSeconds, policy });
}

/**
 * Returns the network of a client: its IPv4 address, or the first 64 bits of its IPv6 address. One
 * client may use every address within those 64 bits (RFC 6177).
 *
 * @param ip the client's IP address; `undefined` in local development
 */
export function networkOf(ip: string | undefined): string {
  if (ip === undefined || !ip.includes(":")) return ip ?? "local";
  // The URL parser converts every notation to one (WHATWG URL, 3.5, "IPv6 serializer").
  const canonical = URL.parse(`http://[${ip}]/`)?.hostname.slice(1, -1);
  if (canonical === undefined) return "unknown";
  const [head = "", tail] = canonical.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return `${[...before, ...zeros, ...after].slice(0, 4).join(":")}::/64`;
}
