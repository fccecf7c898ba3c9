import type { Context } from "hono";
import type { FileConditions } from "../respond/file.ts";
import type { AppEnv } from "./context.ts";

/** Returns the conditions and the range that a request states for a file. */
export function fileConditions(c: Context<AppEnv>): FileConditions {
  return {
    ifNoneMatch: c.req.header("if-none-match"),
    range: c.req.header("range"),
    ifRange: c.req.header("if-range"),
    head: c.req.method === "HEAD",
    waitUntil: (writing) => c.executionCtx.waitUntil(writing),
  };
}
