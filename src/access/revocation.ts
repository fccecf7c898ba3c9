import { DurableObject } from "cloudflare:workers";
import type { Config } from "../config/environment.ts";
import { nowSeconds } from "../lib/clock.ts";
import { TOKEN_MAX_SECONDS, type TokenClaims } from "./token.ts";

/** What is revoked: one token, or all that a subject was given so far. */
export type Revoked = { jti: string } | { sub: string };

/**
 * The one place that knows what is revoked. A row is kept as long as a token may live.
 *
 * | table | rows |
 * | --- | --- |
 * | `revoked` | `{kind, name, at}`: `jti` or `sub`, whose, and when (Unix seconds) |
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

  /** A subject's revocation holds for what it was given before, and in the same second. */
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

/** A revocation holds everywhere within this time. */
const REMEMBERED_MS = 1000;
const MAX_REMEMBERED = 10_000;

/** Tokens that were not revoked when this isolate asked, with when that was. */
const valid = new Map<string, number>();

/** Whether a token was revoked, as of at most a second ago. */
export async function isRevoked(config: Config, token: TokenClaims): Promise<boolean> {
  const { jti, sub, iat } = token;
  const askedMs = Date.now();
  if (askedMs - (valid.get(jti) ?? Number.NEGATIVE_INFINITY) < REMEMBERED_MS) return false;
  const revoked = await revocationsOf(config).isRevoked(jti, sub, iat);
  if (valid.size >= MAX_REMEMBERED) valid.clear();
  if (revoked) valid.delete(jti);
  else valid.set(jti, askedMs);
  return revoked;
}

/** Revokes a token, or all of a subject's. */
export async function revoke(config: Config, revoked: Revoked): Promise<void> {
  await revocationsOf(config).revoke(revoked);
}

function revocationsOf({ revocations }: Config): DurableObjectStub<Revocations> {
  return revocations.get(revocations.idFromName("revocations"));
}
