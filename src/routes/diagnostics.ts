import type { Hono } from "hono";
import { requireAdmin } from "../access/admin.ts";
import { diagnose } from "../diagnostics/checks.ts";
import type { AppEnv } from "../http/context.ts";

/** Registers `GET /v1/doctor`: the operator's diagnostics, which cost nothing. */
export function diagnosticsRoute(app: Hono<AppEnv>): void {
  app.get("/v1/doctor", async (c) => {
    const config = c.get("config");
    await requireAdmin(c.req.header("authorization"), config.adminKey);
    c.header("cache-control", "no-store");
    return c.json(await diagnose(config));
  });
}
