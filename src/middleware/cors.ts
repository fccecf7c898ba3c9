import type { MiddlewareHandler } from "hono";
import { cors as honoCors } from "hono/cors";
import { configOf } from "../config/environment.ts";
import type { AppEnv } from "../http/context.ts";
import { DAY_SECONDS } from "../lib/clock.ts";

/** Response headers that a script may read. */
const EXPOSED_HEADERS = [
  "x-request-id",
  "retry-after",
  "retry-after-ms",
  "x-should-retry",
  "cache-status",
  "age",
  "location",
  "ratelimit",
  "ratelimit-policy",
  "server-timing",
  "preference-applied",
  "content-location",
  "allow",
];

/** Request headers that a script may send. */
const REQUEST_HEADERS = [
  "accept",
  "authorization",
  "cache-control",
  "content-type",
  "idempotency-key",
  "if-none-match",
  "if-range",
  "prefer",
  "range",
];

/** The SDKs send a dozen headers of their own. Browsers and proxies give no meaning to custom names. */
const CUSTOM_HEADER = /^(?:x|openai)-[\w-]{1,64}$/;

const PREFLIGHT_SECONDS = DAY_SECONDS;

/** One for each environment, which does not change during the life of an isolate. */
const policies = new WeakMap<object, MiddlewareHandler>();

/**
 * Sets the CORS headers for the configured origins. A preflight response allows the safe ones of the
 * requested headers. CORS is no access control: only browsers enforce it.
 */
export function cors(): MiddlewareHandler<AppEnv> {
  return async function cors(c, next) {
    const policy = policies.get(c.env) ?? policyOf(c.env, REQUEST_HEADERS);
    policies.set(c.env, policy);
    if (c.req.method === "OPTIONS") {
      const requested = c.req.header("access-control-request-headers");
      return policyOf(c.env, allowedHeaders(requested))(c, next);
    }
    // Headers that are set before the response exists make Hono copy the response.
    await next();
    return policy(c, async () => {});
  };
}

/** Returns the requested headers that are listed or custom; the listed ones if none is requested. */
function allowedHeaders(requested: string | undefined): string[] {
  const names = requested?.split(",").map((name) => name.trim().toLowerCase()) ?? [];
  const allowed = names.filter(
    (name) => REQUEST_HEADERS.includes(name) || CUSTOM_HEADER.test(name),
  );
  return allowed.length === 0 ? REQUEST_HEADERS : allowed;
}

function policyOf(env: object, allowHeaders: string[]): MiddlewareHandler {
  const origins = allowedOrigins(env);
  return honoCors({
    origin: origins.includes("*") ? "*" : [...origins],
    allowMethods: ["GET", "HEAD", "POST", "DELETE"],
    allowHeaders,
    exposeHeaders: EXPOSED_HEADERS,
    maxAge: PREFLIGHT_SECONDS,
  });
}

/** Returns `*` if the configuration is invalid, so that pages can read the error. */
function allowedOrigins(env: object): readonly string[] {
  try {
    return configOf(env).allowedOrigins;
  } catch {
    return ["*"];
  }
}
