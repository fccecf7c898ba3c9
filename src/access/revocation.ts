import { DurableObject } from "cloudflare:workers";
import type { Config } from "../config/environment.ts";
import { nowSeconds } from "../lib/clock.ts";
import { objectClient, type ObjectClient } from "../lib/object-client.ts";
import { sha256 } from "../lib/sha256.ts";
import type { TokenIdentity } from "./caller.ts";
import { TOKEN_MAX_SECONDS } from "./token.ts";

/** The tokens that a revocation covers: one, or all that were issued to a subject so far. */
export type Revoked = { jti: string } | { sub: string };

/** Bounds the rows that one revocation deletes. */
const MAX_DELETED = 100;

/**
 * Stores some of the revocations of a gateway. A row is deleted by a later revocation when every token
 * that it revokes has expired.
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
      CREATE INDEX IF NOT EXISTS revoked_at ON revoked (at);
    `);
  }

  revoke(revoked: Revoked): void {
    const { sql } = this.ctx.storage;
    const [kind, name] = "jti" in revoked ? ["jti", revoked.jti] : ["sub", revoked.sub];
    const now = nowSeconds();
    sql.exec("INSERT OR REPLACE INTO revoked (kind, name, at) VALUES (?, ?, ?)", kind, name, now);
    sql.exec(
      `DELETE FROM revoked WHERE rowid IN
         (SELECT rowid FROM revoked WHERE at < ? ORDER BY at LIMIT ?)`,
      now - TOKEN_MAX_SECONDS,
      MAX_DELETED,
    );
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

/**
 * Returns true if a token is revoked. The result is up to a second old.
 *
 * @throws if a Durable Object is unreachable: the token must not be accepted then
 */
export async function isRevoked(config: Config, token: TokenIdentity): Promise<boolean> {
  const { jti, sub, iat } = token;
  const checkedMs = Date.now();
  const key = `${jti} ${sub} ${iat}`;
  if (checkedMs - (valid.get(key) ?? Number.NEGATIVE_INFINITY) < CACHE_MS) return false;
  const names = new Set([await objectName({ jti }), await objectName({ sub })]);
  if (checkedMs < SINGLE_OBJECT_UNTIL_MS) names.add(SINGLE_OBJECT);
  const results = await Promise.all(
    [...names].map((name) => revocationsOf(config, name).isRevoked(jti, sub, iat)),
  );
  const revoked = results.includes(true);
  if (valid.size >= MAX_CACHED) valid.clear();
  if (revoked) valid.delete(key);
  else valid.set(key, checkedMs);
  return revoked;
}

/** Revokes one token, or all tokens of a subject. */
export async function revoke(config: Config, revoked: Revoked): Promise<void> {
  await revocationsOf(config, await objectName(revoked)).revoke(revoked);
}

/**
 * The name of the one Durable Object that stores the revocations of version 0.1.0, and the time until which
 * it is looked up. A gateway is upgraded from 2026-11-26 on, and a token lives for at most a year: the
 * tokens that the object revokes have expired on 2027-11-26.
 */
const SINGLE_OBJECT = "revocations";
const SINGLE_OBJECT_UNTIL_MS = Date.UTC(2027, 10, 26);

/**
 * Returns the name of the Durable Object for a revocation: one of 256, by the SHA-256 digest of the token id or
 * of the subject. Every request with a token looks up two of them, so one object would limit the gateway.
 */
async function objectName(revoked: Revoked): Promise<string> {
  const digest = await sha256("jti" in revoked ? `jti ${revoked.jti}` : `sub ${revoked.sub}`);
  return `${SINGLE_OBJECT}/${new Uint8Array(digest, 0, 1).toHex()}`;
}

function revocationsOf({ revocations }: Config, name: string): ObjectClient<Revocations> {
  return objectClient(revocations, revocations.idFromName(name));
}
