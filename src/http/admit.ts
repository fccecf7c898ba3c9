import type { Context } from "hono";
import { limitRate, type RateLimitName } from "../access/rate-limit.ts";
import { requireWithinLimits, type TokenLimits } from "../access/token.ts";
import type { ImageRequest } from "../contract/request.ts";
import { callerOf, type AuthenticatedCaller } from "./caller.ts";
import type { AppEnv } from "./context.ts";

/** How a route admits its requests. */
export interface Admission<Parsed> {
  /** Authenticates the caller from the headers; `callerOf` if absent. */
  authenticate?: () => Promise<AuthenticatedCaller> | AuthenticatedCaller;
  /** Reads and validates the request: the body, or the query, and the headers that belong to it. */
  parse: () => Promise<Parsed> | Parsed;
  /** Checks the parsed body against the limits of the caller's token. */
  checkLimits: (parsed: Parsed, limits: TokenLimits) => void;
  /** The rate limit that the request counts against. */
  limit: RateLimitName;
}

/**
 * Admits a request, in one order for every route: the caller, the body, the limits of the token, the rate
 * limit. It spends nothing.
 *
 * @throws {GatewayError} the first problem
 */
export async function admit<Parsed>(
  { authenticate, parse, checkLimits, limit }: Admission<Parsed>,
  c: Context<AppEnv>,
): Promise<{ caller: AuthenticatedCaller; parsed: Parsed }> {
  const caller = await (authenticate?.() ?? callerOf(c));
  c.get("event").account = caller.payer.account;
  const parsed = await parse();
  if (caller.token !== undefined) checkLimits(parsed, caller.token);
  await limitRate(c.get("config"), limit, caller.rateKey);
  return { caller, parsed };
}

/**
 * Admits the request for one generation.
 *
 * @throws {GatewayError} the first problem
 */
export async function admitImageRequest<Parsed extends { request: ImageRequest }>(
  { authenticate, parse }: Pick<Admission<Parsed>, "authenticate" | "parse">,
  c: Context<AppEnv>,
): Promise<{ caller: AuthenticatedCaller } & Parsed> {
  const admission: Admission<Parsed> = {
    ...(authenticate === undefined ? {} : { authenticate }),
    parse,
    checkLimits: ({ request }, limits) => requireWithinLimits(request.spec, limits),
    limit: "requests",
  };
  const { caller, parsed } = await admit(admission, c);
  return { caller, ...parsed };
}

/**
 * Admits a lookup, which has no body. The limits of a token apply to generations only.
 *
 * @param parse validates the query
 * @returns the parsed query
 * @throws {GatewayError} the first problem
 */
export async function admitLookup<Query>(
  parse: () => Query | Promise<Query>,
  c: Context<AppEnv>,
): Promise<Query> {
  const { parsed } = await admit({ parse, checkLimits: () => undefined, limit: "requests" }, c);
  return parsed;
}
