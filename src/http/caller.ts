import type { Context } from "hono";
import { bearerOf } from "../access/bearer.ts";
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
import type { Requester } from "../generation/generate.ts";
import type { AppEnv } from "./context.ts";

/** Who asks. */
export interface Caller extends Requester {
  /** What its token says; `undefined` without one. */
  token: TokenClaims | undefined;
}

/** The name of all who have none. */
const ANONYMOUS = "public";

/**
 * Who asks. Where tokens are wanted it is whoever has one that is good, for this page; where they are
 * not, a token is good for its own budget, and anything else in the header, which SDKs must send, is
 * nobody's.
 *
 * @throws {GatewayError} `missing_token`, `invalid_token`, `token_expired`, `origin_not_allowed`,
 *   `insufficient_scope`
 */
export async function callerOf(c: Context<AppEnv>): Promise<Caller> {
  const config = c.get("config");
  const network = networkOf(c.req.header("cf-connecting-ip"));
  const token = config.access === "token" ? await requiredToken(c) : await optionalToken(c);
  const caller = token === undefined ? anonymous(ANONYMOUS, network) : holderOf(token, c);
  c.get("event").account = caller.payer.account;
  return caller;
}

/**
 * Whoever has a token for webhooks, which stands in the address.
 *
 * @throws {GatewayError} `invalid_token`, `token_expired`, `origin_not_allowed`, `insufficient_scope`
 */
export async function webhookCallerOf(
  bearer: string,
  c: Context<AppEnv>,
): Promise<Caller & { token: TokenClaims }> {
  return holderOf(await goodToken(bearer, WEBHOOK_SCOPE, c), c);
}

/** Whoever has the secret that webhooks are signed with. */
export const WEBHOOK_SENDER: Caller = {
  principal: "webhook",
  rateKey: "webhook",
  payer: { caller: "webhook", account: "webhook", token: undefined },
  token: undefined,
};

function holderOf(token: TokenClaims, c: Context<AppEnv>): Caller & { token: TokenClaims } {
  const network = networkOf(c.req.header("cf-connecting-ip"));
  const { sub, jti, budget_usd: usd } = token;
  // Whoever passes the widget may do so again and again: what counts is where that is.
  const isVisitor = sub === TURNSTILE_SUBJECT;
  return {
    principal: `subject/${sub}`,
    rateKey: isVisitor ? `network/${network}` : `token/${jti}`,
    payer: {
      caller: sub,
      account: isVisitor ? `network/${network}` : `subject/${sub}`,
      token: usd === undefined ? undefined : { jti, budget: Math.round(usd * MICRO_PER_DOLLAR) },
    },
    token,
  };
}

/** Somebody without a token, known by a network. */
export function anonymous(caller: string, network: string): Caller {
  return {
    principal: ANONYMOUS,
    rateKey: `network/${network}`,
    payer: { caller, account: `network/${network}`, token: undefined },
    token: undefined,
  };
}

async function requiredToken(c: Context<AppEnv>): Promise<TokenClaims> {
  return goodToken(bearerOf(c.req.header("authorization"), "token"), undefined, c);
}

async function goodToken(
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
  // A JWT has two dots (RFC 7515, 3.1); an SDK's made-up key costs no signature.
  if (c.req.header("authorization")?.split(".").length !== 3) return undefined;
  try {
    return await requiredToken(c);
  } catch (error) {
    if (error instanceof GatewayError && error.failure.code !== "misconfigured") return undefined;
    throw error;
  }
}

/** The origin of the page that asks: browsers leave it out of a GET within one origin. */
function originOf(c: Context<AppEnv>): string | undefined {
  const origin = c.req.header("origin");
  if (origin !== undefined) return origin;
  const isOwnPage = c.req.header("sec-fetch-site") === "same-origin";
  return isOwnPage ? new URL(c.req.url).origin : undefined;
}
