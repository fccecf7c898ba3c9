import { sign, verify } from "hono/jwt";
import { z } from "zod";
import { GatewayError, type TokenProblem } from "../errors/failure.ts";

/** The longest life of a token. */
export const TOKEN_MAX_SECONDS = 365 * 24 * 60 * 60;

/** More than any token of ours has, and nothing to spend a signature on. */
const TOKEN_MAX_CHARS = 4096;

/** Pinned: what a token says of its own algorithm is not asked (RFC 8725, 3.1). */
const ALGORITHM = "HS256";

/** Of the tokens that stand in an address: they are read by more eyes than a header is. */
export const WEBHOOK_SCOPE = "webhook";

const names = z.array(z.string().min(1).max(200)).min(1).max(20);

/** What a token may be limited to; whatever is absent is not limited. */
export const tokenLimitsSchema = z.strictObject({
  /** Exact origins of the pages that may use it. */
  origins: z
    .array(
      z
        .string()
        .max(200)
        .refine(
          (value) => URL.parse(value)?.origin === value,
          "must be origins, such as https://example.com",
        ),
    )
    .min(1)
    .max(20)
    .optional(),
  models: names.optional(),
  /** The most pictures of one request. */
  max_n: z.int().min(1).max(10).optional(),
  qualities: names.optional(),
  /** What it may spend in all its life. */
  budget_usd: z.number().min(0).max(1_000_000).optional(),
  /** `webhook`: it stands in the address of a webhook, and is good for nothing else. */
  scope: z.literal(WEBHOOK_SCOPE).optional(),
});

/** Whom a token is for: counted, limited and revoked under this name. */
export const subjectSchema = z
  .string()
  .regex(/^[\w.:@-]{1,128}$/, "must be 1 to 128 letters, digits or any of . _ : @ -");

/** What the owner sends to have a token made. */
export const tokenBody = z.strictObject({
  sub: subjectSchema,
  ttl_seconds: z.int().min(1).max(TOKEN_MAX_SECONDS),
  ...tokenLimitsSchema.shape,
});

const claimsSchema = z.object({
  ...tokenLimitsSchema.shape,
  sub: subjectSchema,
  jti: z.string().regex(/^[\w-]{1,64}$/),
  /** Unix seconds, as `exp` and `nbf` are. */
  iat: z.int(),
  exp: z.int(),
});

/** A token's claims (RFC 7519), with the limits that are ours. */
export type TokenClaims = z.infer<typeof claimsSchema>;
export type TokenLimits = z.infer<typeof tokenLimitsSchema>;

export interface MintOptions {
  sub: string;
  ttlSeconds: number;
  /** Unix seconds. */
  nowSeconds: number;
  limits: TokenLimits;
}

/**
 * Makes a token: a JWT, signed with the first of the secrets.
 *
 * @param secrets the values of `TOKEN_SECRET`
 */
export async function mintToken(
  secrets: readonly string[],
  { sub, ttlSeconds, nowSeconds, limits }: MintOptions,
): Promise<{ token: string; claims: TokenClaims }> {
  const [secret] = secrets;
  if (secret === undefined) throw noSecret();
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
 * The claims of a token that one of the secrets has signed.
 *
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

/** `undefined` where another secret has signed it. */
async function payloadOf(token: string, secret: string): Promise<unknown> {
  try {
    // `iat` tells when, not from when: the clock of whoever minted it may be a little ahead.
    return await verify(token, secret, { alg: ALGORITHM, iat: false });
  } catch (error) {
    // The library tells its reasons apart by the names of its errors.
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

function noSecret(): GatewayError {
  return new GatewayError({ code: "misconfigured", problems: ["TOKEN_SECRET is not set"] });
}

/** Whom a token is for that was made for a widget's token. */
export const TURNSTILE_SUBJECT = "turnstile";

/**
 * Holds a request against the limits of its token.
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
