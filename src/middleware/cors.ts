import type { MiddlewareHandler } from "hono";
import { cors as honoCors } from "hono/cors";
import { configOf } from "../config/environment.ts";
import type { AppEnv } from "../http/context.ts";

/** What a script may read beside the body. */
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

/** What a script may send. */
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

/** The SDKs send a dozen headers of their own; a custom name means nothing to any browser or proxy. */
const CUSTOM_HEADER = /^(?:x|openai)-[\w-]{1,64}$/;

const PREFLIGHT_SECONDS = 24 * 60 * 60;

/** One for each environment, which does not change while an isolate lives. */
const policies = new WeakMap<object, MiddlewareHandler>();

/**
 * CORS for the configured origins. A preflight is allowed, of the headers that it asks for, those
 * that are safe. This is no access control; any program but a browser ignores it.
 */
export function cors(): MiddlewareHandler<AppEnv> {
  return async function cors(c, next) {
    const policy = policies.get(c.env) ?? policyOf(c.env, REQUEST_HEADERS);
    policies.set(c.env, policy);
    if (c.req.method === "OPTIONS") {
      const asked = c.req.header("access-control-request-headers");
      return policyOf(c.env, allowedHeaders(asked))(c, next);
    }
    // What is set before the answer is there makes Hono copy the answer.
    await next();
    return policy(c, async () => {});
  };
}

/** What is asked for, as far as it is one of ours or a custom one; ours where nothing is. */
function allowedHeaders(asked: string | undefined): string[] {
  const names = asked?.split(",").map((name) => name.trim().toLowerCase()) ?? [];
  const allowed = names.filter(
    (name) => REQUEST_HEADERS.includes(name) || CUSTOM_HEADER.test(name),
  );
  return allowed.length === 0 ? REQUEST_HEADERS : allowed;
}

function policyOf(env: object, allowHeaders: string[]): MiddlewareHandler {
  const origins = allowedOrigins(env);
  return honoCors({
    origin: origins.includes("*") ? "*" : [...origins],
    allowMethods: ["GET", "HEAD", "POST"],
    allowHeaders,
    exposeHeaders: EXPOSED_HEADERS,
    maxAge: PREFLIGHT_SECONDS,
  });
}

/** A gateway that is set up wrongly says so to pages as well. */
function allowedOrigins(env: object): readonly string[] {
  try {
    return configOf(env).allowedOrigins;
  } catch {
    return ["*"];
  }
}
