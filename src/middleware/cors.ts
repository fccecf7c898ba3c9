import type { MiddlewareHandler } from "hono";
import { cors as honoCors } from "hono/cors";
import { configOf } from "../config.ts";
import type { AppEnv } from "./context.ts";

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
];

const PREFLIGHT_SECONDS = 24 * 60 * 60;

/** One for each environment, which does not change while an isolate lives. */
const policies = new WeakMap<object, MiddlewareHandler>();

/**
 * CORS for the configured origins. A preflight is allowed the headers that it asks for: the SDKs
 * send a dozen of their own. This is no access control; any program but a browser ignores it.
 */
export function cors(): MiddlewareHandler<AppEnv> {
  return async function cors(c, next) {
    const policy = policies.get(c.env) ?? policyOf(c.env);
    policies.set(c.env, policy);
    if (c.req.method === "OPTIONS") return policy(c, next);
    // What is set before the answer is there makes Hono copy the answer.
    await next();
    return policy(c, async () => {});
  };
}

function policyOf(env: object): MiddlewareHandler {
  const origins = allowedOrigins(env);
  return honoCors({
    origin: origins.includes("*") ? "*" : [...origins],
    allowMethods: ["GET", "HEAD", "POST"],
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
