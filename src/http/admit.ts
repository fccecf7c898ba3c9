import type { Context } from "hono";
import { limitRate } from "../access/rate-limit.ts";
import { requireWithinLimits, type TokenLimits } from "../access/token.ts";
import type { ImageRequest } from "../contract/request.ts";
import { callerOf, type AuthenticatedCaller } from "./caller.ts";
import type { AppEnv } from "./context.ts";
import { declaredBytes } from "./json-body.ts";

/** How a route admits its requests. */
export interface Admission<Parsed> {
  /** Authenticates the caller from the headers; `callerOf` if absent. */
  authenticate?: () => Promise<AuthenticatedCaller> | AuthenticatedCaller;
  /** The limit of the body; absent if the request has none, or if it is read already. */
  maxBytes?: number;
  /** Reads and validates the request: the body, or the query, and the headers that belong to it. */
  parse: () => Promise<Parsed> | Parsed;
  /** Checks the parsed body against the limits of the caller's token. */
  checkLimits: (parsed: Parsed, limits: TokenLimits) => void;
}

/** A body of at most this size is read while the rate limit is asked, a larger one after it. */
const SMALL_BYTES = 64 * 1024;

/**
 * Admits a request, in one order for every route: the headers, the rate limit, the body, the limits of the
 * token. So an invalid request counts too, and no large body is read for a caller that is limited. It spends
 * nothing.
 *
 * @throws {GatewayError} the first problem
 */
export async function admit<Parsed>(
  { authenticate, maxBytes = 0, parse, checkLimits }: Admission<Parsed>,
  c: Context<AppEnv>,
): Promise<{ caller: AuthenticatedCaller; parsed: Parsed }> {
  const caller = await (authenticate?.() ?? callerOf(c));
  c.get("event").account = caller.payer.account;
  const counted = limitRate(c.get("config"), caller.rateKey);
  if (Math.min(maxBytes, declaredBytes(c) ?? maxBytes) > SMALL_BYTES) await counted;
  const parsing = (async () => parse())();
  // The rate limit is reported first.
  parsing.catch(() => undefined);
  await counted;
  const parsed = await parsing;
  if (caller.token !== undefined) checkLimits(parsed, caller.token);
  return { caller, parsed };
}

/**
 * Admits the request for one generation.
 *
 * @throws {GatewayError} the first problem
 */
export async function admitImageRequest<Parsed extends { request: ImageRequest }>(
  { authenticate, maxBytes, parse }: Omit<Admission<Parsed>, "checkLimits">,
  c: Context<AppEnv>,
): Promise<{ caller: AuthenticatedCaller } & Parsed> {
  const admission: Admission<Parsed> = {
    ...(authenticate === undefined ? {} : { authenticate }),
    ...(maxBytes === undefined ? {} : { maxBytes }),
    parse,
    checkLimits: ({ request }, limits) => requireWithinLimits(request.spec, limits),
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
  const { parsed } = await admit({ parse, checkLimits: () => undefined }, c);
  return parsed;
}
