import type { Context } from "hono";
import { bearerOf, isJwt } from "../access/bearer.ts";
import { limitRate } from "../access/rate-limit.ts";
import type { Canceller } from "../jobs/cancellation.ts";
import { requireAdminOf } from "./admin.ts";
import { networkAccount, requiredToken } from "./caller.ts";
import type { AppEnv } from "./context.ts";

/**
 * Authenticates the client of a cancellation, by the admin key or by a token.
 *
 * @throws {GatewayError} `missing_token`, `invalid_token`, `token_expired`, `origin_not_allowed`,
 *   `insufficient_scope`, `rate_limit_exceeded`
 */
export async function cancellerOf(c: Context<AppEnv>): Promise<Canceller> {
  const config = c.get("config");
  const bearer = bearerOf(c.req.header("authorization"), "token");
  await limitRate(config, networkAccount(c));
  if (config.adminKey !== undefined && !isJwt(bearer)) {
    await requireAdminOf(c);
    return "admin";
  }
  const { jti, sub, iat } = await requiredToken(c);
  c.get("event").account = `subject/${sub}`;
  return { jti, sub, iat };
}
