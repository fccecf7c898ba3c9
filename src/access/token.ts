import { sign, verify } from "hono/jwt";
import * as z from "zod";
import { GatewayError, secretNotSet, type TokenProblem } from "../errors/failure.ts";
import { YEAR_SECONDS } from "../lib/clock.ts";

/** The longest lifetime of a token. */
export const TOKEN_MAX_SECONDS = YEAR_SECONDS;

/** Exceeds every token of this gateway. Longer ones are rejected before their signature is verified. */
const TOKEN_MAX_CHARS = 4096;

/** The only accepted algorithm. The `alg` header of a token must not select another (RFC 8725, 3.1). */
const ALGORITHM = "HS256";

/** The scope of tokens in webhook URLs, which are logged in more places than headers. */
export const WEBHOOK_SCOPE = "webhook";

const names = z.array(z.string().min(1).max(200)).min(1).max(20);

/** The limits of a token. An absent limit does not apply. */
export const tokenLimitsSchema = z.strictObject({
  /** Exact origins of the pages that may use the token. */
  origins: z
    .array(
      z
        .string()
        .max(200)
        .refine(
          (value) => URL.parse(value)?.origin === value,
          "must be an origin, such as https://example.com",
        ),
    )
    .min(1)
    .max(20)
    .optional(),
  models: names.optional(),
  /** The largest `n` of one request. */
  max_n: z.int().min(1).max(10).optional(),
  qualities: names.optional(),
  /** The budget of the token for its whole lifetime. */
  budget_usd: z.number().min(0).max(1_000_000).optional(),
  /** `webhook`: the token is valid in the URL of an incoming webhook, and nowhere else. */
  scope: z.literal(WEBHOOK_SCOPE).optional(),
});

/** The subject of a token. Its usage, rate limits and revocation refer to this name. */
export const subjectSchema = z
  .string()
  .regex(/^[\w.:@-]{1,128}$/, "must be 1 to 128 letters, digits or any of . _ : @ -");

/** The id of a token. */
export const tokenIdSchema = z
  .string()
  .regex(/^[\w-]{1,64}$/, "must be 1 to 64 letters, digits or any of _ -");

/** The body of the operator's request for a token. */
export const tokenBody = z.strictObject({
  sub: subjectSchema,
  ttl_seconds: z.int().min(1).max(TOKEN_MAX_SECONDS),
  ...tokenLimitsSchema.shape,
});

const claimsSchema = z.object({
  ...tokenLimitsSchema.shape,
  sub: subjectSchema,
  jti: tokenIdSchema,
  /** Unix seconds, as `exp` and `nbf` are. */
  iat: z.int(),
  exp: z.int(),
});

/** The claims of a token (RFC 7519), with the limits of this gateway. */
export type TokenClaims = z.infer<typeof claimsSchema>;
export type TokenLimits = z.infer<typeof tokenLimitsSchema>;

/** The subject, lifetime and limits of a new token. */
export interface MintOptions {
  sub: string;
  ttlSeconds: number;
  /** Unix seconds. */
  nowSeconds: number;
  limits: TokenLimits;
}

/**
 * Creates a token: a JWT, signed with the first of the secrets.
 *
 * @param secrets the values of `TOKEN_SECRET`
 * @throws {GatewayError} `misconfigured` if there is no secret
 */
export async function mintToken(
  secrets: readonly string[],
  { sub, ttlSeconds, nowSeconds, limits }: MintOptions,
): Promise<{ token: string; claims: TokenClaims }> {
  const [secret] = secrets;
  if (secret === undefined) throw secretNotSet("TOKEN_SECRET");
  const claims: TokenClaims = {
    ...limits,
    sub,
    jti: `tok_${crypto.randomUUID().replaceAll("-", "")}`,
    iat: nowSeconds,
    exp: nowSeconds + ttlSeconds,
  };
  return { token: await sign(claims, secret, ALGORITHM), claims };
}

/**
 * Returns the claims of a token.
 *
 * @param secrets the accepted secrets
 * @throws {GatewayError} `invalid_token`, `token_expired`
 */
export async function verifyToken(token: string, secrets: readonly string[]): Promise<TokenClaims> {
  if (token.length > TOKEN_MAX_CHARS) throw invalid("oversized");
  for (const secret of secrets) {
    const payload = await payloadOf(token, secret);
    if (payload === undefined) continue;
    const claims = claimsSchema.safeParse(payload);
    if (!claims.success) throw invalid("malformed");
    return claims.data;
  }
  throw invalid("signature");
}

/** Returns the payload of a token; `undefined` if the secret did not sign it. */
async function payloadOf(token: string, secret: string): Promise<unknown> {
  try {
    // `iat` is not checked, because the clock of the issuer may be ahead of this one.
    return await verify(token, secret, { alg: ALGORITHM, iat: false });
  } catch (error) {
    // Hono identifies the reason by the name of the error.
    switch (error instanceof Error ? error.name : "") {
      case "JwtTokenSignatureMismatched":
        return undefined;
      case "JwtTokenExpired":
        throw new GatewayError({ code: "token_expired" });
      case "JwtTokenNotBefore":
        throw invalid("not_yet_valid");
      case "JwtAlgorithmMismatch":
      case "JwtAlgorithmNotImplemented":
      case "JwtHeaderInvalid":
        throw invalid("algorithm");
      default:
        throw invalid("malformed");
    }
  }
}

function invalid(problem: TokenProblem): GatewayError {
  return new GatewayError({ code: "invalid_token", credential: "token", problem });
}

/** The subject of a token that was created in exchange for a Turnstile token. */
export const TURNSTILE_SUBJECT = "turnstile";

/**
 * Requires that a request is within the limits of its token.
 *
 * @throws {GatewayError} `model_not_allowed`, `integer_above_max_value`, `invalid_value`
 */
export function requireWithinLimits(
  { model, n, quality }: { model: string; n: number; quality: string },
  { models, max_n: max, qualities }: TokenLimits,
): void {
  if (models !== undefined && !models.includes(model)) {
    throw new GatewayError({ code: "model_not_allowed", allowed: models });
  }
  if (max !== undefined && n > max) {
    throw new GatewayError({ code: "integer_above_max_value", param: "n", max });
  }
  if (qualities !== undefined && !qualities.includes(quality)) {
    throw new GatewayError({ code: "invalid_value", param: "quality", allowed: qualities });
  }
}
