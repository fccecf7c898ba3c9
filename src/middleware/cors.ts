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

/**
 * CORS for the configured origins. A preflight is allowed the headers that it asks for: the SDKs
 * send a dozen of their own. This is no access control; any program but a browser ignores it.
 */
export function cors(): MiddlewareHandler<AppEnv> {
  return function cors(c, next) {
    const origins = allowedOrigins(c.env);
    return honoCors({
      origin: origins.includes("*") ? "*" : [...origins],
      allowMethods: ["GET", "HEAD", "POST"],
      exposeHeaders: EXPOSED_HEADERS,
      maxAge: PREFLIGHT_SECONDS,
    })(c, next);
  };
}

/** A gateway that is set up wrongly says so to pages as well. */
function allowedOrigins(env: object): readonly string[] {
  try {
    return configOf(env).allowedOrigins;
  } catch {
    return ["*"];
  }
}
