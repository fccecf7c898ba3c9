import type { Context } from "hono";
import { bearerOf, isJwt } from "../access/bearer.ts";
import type { Caller } from "../access/caller.ts";
import { networkOf } from "../access/rate-limit.ts";
import { isRevoked } from "../access/revocation.ts";
import {
  TURNSTILE_SUBJECT,
  verifyToken,
  WEBHOOK_SCOPE,
  type TokenClaims,
} from "../access/token.ts";
import { MICRO_PER_DOLLAR } from "../contract/pricing.ts";
import { GatewayError } from "../errors/failure.ts";
import type { AppEnv } from "./context.ts";

/** The caller of a request. */
export interface AuthenticatedCaller extends Caller {
  /** The claims of its token; `undefined` without one. */
  token: TokenClaims | undefined;
}

/** The name of callers without a token in the usage. */
const ANONYMOUS = "public";

/**
 * Authenticates the caller. With `ACCESS=token` a valid token is required. With `ACCESS=public` a valid
 * token selects its own budget. Any other Authorization value counts as anonymous, because SDKs always
 * send one.
 *
 * @throws {GatewayError} `missing_token`, `invalid_token`, `token_expired`, `origin_not_allowed`,
 *   `insufficient_scope`
 */
export async function callerOf(c: Context<AppEnv>): Promise<AuthenticatedCaller> {
  const config = c.get("config");
  const token = config.access === "token" ? await requiredToken(c) : await optionalToken(c);
  return token === undefined ? anonymous(ANONYMOUS, c) : subjectOf(token, c);
}

/**
 * Authenticates the sender of a webhook by the token in its URL.
 *
 * @throws {GatewayError} `invalid_token`, `token_expired`, `origin_not_allowed`, `insufficient_scope`
 */
export async function webhookCallerOf(
  bearer: string,
  c: Context<AppEnv>,
): Promise<AuthenticatedCaller> {
  return subjectOf(await validToken(bearer, WEBHOOK_SCOPE, c), c);
}

/** The sender of a signed webhook. */
export const WEBHOOK_SENDER: AuthenticatedCaller = {
  principal: "webhook",
  rateKey: "webhook",
  payer: { caller: "webhook", account: "webhook", token: undefined },
  token: undefined,
};

/** Returns the caller without a token, known by its network. */
export function anonymous(caller: string, c: Context<AppEnv>): AuthenticatedCaller {
  const name = networkAccount(c);
  return {
    principal: name,
    rateKey: name,
    payer: { caller, account: name, token: undefined },
    token: undefined,
  };
}

/** Returns the name of the account of a client's network, which is also the key of its rate limit. */
export function networkAccount(c: Context<AppEnv>): string {
  return `network/${networkOfClient(c)}`;
}

export function networkOfClient(c: Context<AppEnv>): string {
  return networkOf(c.req.header("cf-connecting-ip"));
}

function subjectOf(token: TokenClaims, c: Context<AppEnv>): AuthenticatedCaller {
  const { sub, jti, exp, budget_usd: usd } = token;
  // A visitor can pass the Turnstile widget any number of times, so its network is limited.
  const isVisitor = sub === TURNSTILE_SUBJECT;
  const network = networkAccount(c);
  return {
    // All visitors have one subject, and must not share their Idempotency-Keys.
    principal: isVisitor ? `token/${jti}` : `subject/${sub}`,
    rateKey: isVisitor ? network : `token/${jti}`,
    payer: {
      caller: sub,
      account: isVisitor ? network : `subject/${sub}`,
      token:
        usd === undefined ? undefined : { jti, budget: Math.round(usd * MICRO_PER_DOLLAR), exp },
    },
    token,
  };
}

/**
 * Returns the claims of the token in the Authorization header.
 *
 * @throws {GatewayError} `missing_token`, `invalid_token`, `token_expired`, `origin_not_allowed`,
 *   `insufficient_scope`
 */
export async function requiredToken(c: Context<AppEnv>): Promise<TokenClaims> {
  return validToken(bearerOf(c.req.header("authorization"), "token"), undefined, c);
}

async function validToken(
  bearer: string,
  scope: TokenClaims["scope"],
  c: Context<AppEnv>,
): Promise<TokenClaims> {
  const config = c.get("config");
  const claims = await verifyToken(bearer, config.tokenSecrets);
  if (await isRevoked(config, claims)) {
    throw new GatewayError({ code: "invalid_token", credential: "token", problem: "revoked" });
  }
  if (claims.scope !== scope) throw new GatewayError({ code: "insufficient_scope", scope });
  if (!isForOrigin(claims, originOf(c))) throw new GatewayError({ code: "origin_not_allowed" });
  return claims;
}

function isForOrigin({ origins }: TokenClaims, origin: string | undefined): boolean {
  return origins === undefined || (origin !== undefined && origins.includes(origin));
}

async function optionalToken(c: Context<AppEnv>): Promise<TokenClaims | undefined> {
  // The placeholder key of an SDK needs no verification.
  const authorization = c.req.header("authorization");
  if (authorization === undefined || !isJwt(authorization)) return undefined;
  try {
    return await requiredToken(c);
  } catch (error) {
    if (error instanceof GatewayError && error.failure.code !== "misconfigured") return undefined;
    throw error;
  }
}

/** Returns the origin of the requesting page. Browsers omit the header in a same-origin GET. */
function originOf(c: Context<AppEnv>): string | undefined {
  const origin = c.req.header("origin");
  if (origin !== undefined) return origin;
  const isOwnPage = c.req.header("sec-fetch-site") === "same-origin";
  return isOwnPage ? new URL(c.req.url).origin : undefined;
}
