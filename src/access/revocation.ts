import { DurableObject } from "cloudflare:workers";
import type { Config } from "../config/environment.ts";
import { nowSeconds } from "../lib/clock.ts";
import { TOKEN_MAX_SECONDS, type TokenClaims } from "./token.ts";

/** The tokens that a revocation covers: one, or all that were issued to a subject so far. */
export type Revoked = { jti: string } | { sub: string };

/**
 * Stores the revocations of a gateway, in one Durable Object. A row is deleted when every token that it
 * revokes has expired.
 *
 * | table | rows |
 * | --- | --- |
 * | `revoked` | `{kind, name, at}`: `jti` or `sub`, its value, and the time of revocation (Unix seconds) |
 */
export class Revocations extends DurableObject<object> {
  constructor(state: DurableObjectState, env: object) {
    super(state, env);
    state.storage.sql.exec(`
      CREATE TABLE IF NOT EXISTS revoked (
        kind TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (kind, name)
      );
    `);
  }

  revoke(revoked: Revoked): void {
    const { sql } = this.ctx.storage;
    const [kind, name] = "jti" in revoked ? ["jti", revoked.jti] : ["sub", revoked.sub];
    const now = nowSeconds();
    sql.exec("INSERT OR REPLACE INTO revoked (kind, name, at) VALUES (?, ?, ?)", kind, name, now);
    sql.exec("DELETE FROM revoked WHERE at < ?", now - TOKEN_MAX_SECONDS);
  }

  /**
   * Returns true if a token was revoked. The revocation of a subject covers the tokens that were issued
   * before it or in the same second.
   */
  isRevoked(jti: string, sub: string, iat: number): boolean {
    return (
      this.ctx.storage.sql
        .exec(
          `SELECT 1 FROM revoked
             WHERE (kind = 'jti' AND name = ?) OR (kind = 'sub' AND name = ? AND at >= ?)`,
          jti,
          sub,
          iat,
        )
        .toArray().length > 0
    );
  }
}

/** The longest time until a revocation takes effect in every isolate. */
const CACHE_MS = 1000;
const MAX_CACHED = 10_000;

/** Tokens that were not revoked at their last check by this isolate, with the time of that check. */
const valid = new Map<string, number>();

/** Returns true if a token is revoked. The result is up to a second old. */
export async function isRevoked(config: Config, token: TokenClaims): Promise<boolean> {
  const { jti, sub, iat } = token;
  const checkedMs = Date.now();
  if (checkedMs - (valid.get(jti) ?? Number.NEGATIVE_INFINITY) < CACHE_MS) return false;
  const revoked = await revocationsOf(config).isRevoked(jti, sub, iat);
  if (valid.size >= MAX_CACHED) valid.clear();
  if (revoked) valid.delete(jti);
  else valid.set(jti, checkedMs);
  return revoked;
}

/** Revokes one token, or all tokens of a subject. */
export async function revoke(config: Config, revoked: Revoked): Promise<void> {
  await revocationsOf(config).revoke(revoked);
}

function revocationsOf({ revocations }: Config): DurableObjectStub<Revocations> {
  return revocations.get(revocations.idFromName("revocations"));
}
