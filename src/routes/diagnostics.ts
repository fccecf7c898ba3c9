import type { Hono } from "hono";
import { resetLearnedTokens } from "../access/accounts.ts";
import { diagnose } from "../diagnostics/checks.ts";
import { requireAdminOf } from "../http/admin.ts";
import type { AppEnv } from "../http/context.ts";

const PATH = "/v1/diagnostics";
/** The path of version 0.1.0. */
const OLDER_PATH = "/v1/doctor";

/** Registers the operator's diagnostics, which cost nothing, and the deletion of learned tokens. */
export function diagnosticsRoute(app: Hono<AppEnv>): void {
  app.on("GET", [PATH, OLDER_PATH], async (c) => {
    await requireAdminOf(c);
    c.header("cache-control", "no-store");
    return c.json(await diagnose(c.get("config")));
  });

  app.delete(`${PATH}/learned_tokens`, async (c) => {
    await requireAdminOf(c);
    await resetLearnedTokens(c.get("config"));
    return c.body(null, 204);
  });
}
