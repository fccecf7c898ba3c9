import { mintToken, type TokenClaims, type TokenLimits } from "../../../src/access/token.ts";
import { nowSeconds } from "../../../src/lib/clock.ts";
import { TOKEN_SECRET } from "../vars.ts";

/** A token of a test, and the headers of a request with it. */
export interface TestToken {
  token: string;
  claims: TokenClaims;
  headers: { authorization: string };
}

/** Creates a token that is valid for a minute, or for another time. */
export async function newToken(
  sub: string,
  limits: TokenLimits = {},
  ttlSeconds = 60,
): Promise<TestToken> {
  const options = { sub, ttlSeconds, nowSeconds: nowSeconds(), limits };
  const { token, claims } = await mintToken([TOKEN_SECRET], options);
  return { token, claims, headers: { authorization: `Bearer ${token}` } };
}
