import type { Context } from "hono";
import { requireAdmin } from "../access/admin.ts";
import { networkOfClient } from "./caller.ts";
import type { AppEnv } from "./context.ts";

/**
 * Requires the operator's admin key in the Authorization header of a request.
 *
 * @throws {GatewayError} `missing_token`, `invalid_token`, `rate_limit_exceeded`, `misconfigured`
 */
export function requireAdminOf(c: Context<AppEnv>): Promise<void> {
  const authorization = c.req.header("authorization");
  return requireAdmin(c.get("config"), { authorization, network: networkOfClient(c) });
}
