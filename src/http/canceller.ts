import type { Context } from "hono";
import { requireAdmin } from "../access/admin.ts";
import { bearerOf } from "../access/bearer.ts";
import { limitRate } from "../access/rate-limit.ts";
import { GatewayError } from "../errors/failure.ts";
import type { Canceller } from "../jobs/cancellation.ts";
import { networkOfClient, requiredToken } from "./caller.ts";
import type { AppEnv } from "./context.ts";

/**
 * Authenticates the client of a cancellation, by the admin key or by a token.
 *
 * @throws {GatewayError} `missing_token`, `invalid_token`, `token_expired`, `origin_not_allowed`,
 *   `insufficient_scope`, `rate_limit_exceeded`
 */
export async function cancellerOf(c: Context<AppEnv>): Promise<Canceller> {
  const config = c.get("config");
  const authorization = c.req.header("authorization");
  bearerOf(authorization, "token");
  // By network, because each request may try another key.
  await limitRate(config, "requests", `network/${networkOfClient(c)}`);
  if (await isAdmin(authorization, config.adminKey)) return "admin";
  const { jti, sub, iat } = await requiredToken(c);
  c.get("event").account = `subject/${sub}`;
  return { jti, sub, iat };
}

async function isAdmin(
  authorization: string | undefined,
  adminKey: string | undefined,
): Promise<boolean> {
  try {
    await requireAdmin(authorization, adminKey);
    return true;
  } catch (error) {
    if (error instanceof GatewayError) return false;
    throw error;
  }
}
