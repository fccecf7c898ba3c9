import type { ChargedAccounts } from "./accounts.ts";

/** An authenticated caller. Jobs store it, so its field names stay. */
export interface Caller {
  /** The namespace of its Idempotency-Keys. */
  principal: string;
  /** The key of its rate limits. */
  rateKey: string;
  /** The accounts that its generations are charged to. */
  payer: ChargedAccounts;
  /** The identity of its token; absent or `undefined` without one. */
  token?: TokenIdentity | undefined;
}

/** The claims by which a token is revoked, and by which a caller is recognized. */
export interface TokenIdentity {
  jti: string;
  sub: string;
  /** Unix seconds. */
  iat: number;
}

/** Returns the fields of a caller that are stored: of its token, the identity alone. */
export function storedCaller({ principal, rateKey, payer, token }: Caller): Caller {
  const identity = token && { jti: token.jti, sub: token.sub, iat: token.iat };
  return { principal, rateKey, payer, token: identity };
}

/** The namespaces that all networks, and all visitors with a Turnstile token, shared in version 0.1.0. */
const SHARED_NAMESPACES = [
  [/^network\//, "public"],
  [/^token\//, "subject/turnstile"],
] as const;

/**
 * Returns the namespace in which version 0.1.0 stored the Idempotency-Keys of a caller, if it was another one.
 * Other callers may have stored keys there.
 */
export function formerPrincipal({ principal }: Caller): string | undefined {
  return SHARED_NAMESPACES.find(([pattern]) => pattern.test(principal))?.[1];
}
