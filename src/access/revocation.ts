import { DurableObject } from "cloudflare:workers";
import type { Config } from "../config/environment.ts";
import { nowSeconds } from "../lib/clock.ts";
import { objectClient, type ObjectClient } from "../lib/object-client.ts";
import { sha256 } from "../lib/sha256.ts";
import type { TokenIdentity } from "./caller.ts";
import { deleteExpired, nextExpiry, type Retention } from "./retention.ts";
import { Tables } from "./tables.ts";
import { TOKEN_MAX_SECONDS } from "./token.ts";

/** The tokens that a revocation covers: one, or all that were issued to a subject so far. */
export type Revoked = { jti: string } | { sub: string };

/** The retention of a revocation: every token that it covers has expired then. */
export const REVOCATION_RETENTIONS: readonly Retention[] = [
  { table: "revoked", column: "at", seconds: TOKEN_MAX_SECONDS },
];

/** The pause if one alarm cannot delete everything. */
const MORE_PAUSE_SECONDS = 1;

/**
 * Stores some of the revocations of a gateway. An object that is only read stores nothing. Its alarm deletes
 * expired rows, and the whole object once it has no rows.
 *
 * | table | rows |
 * | --- | --- |
 * | `revoked` | `{kind, name, at}`: `jti` or `sub`, its value, and the time of revocation (Unix seconds) |
 */
export class Revocations extends DurableObject<object> {
  readonly #tables = new Tables(this.ctx.storage.sql);
  /** True once this instance has made sure that an alarm is set. */
  #hasAlarm = false;

  /** Stores a revocation; idempotent. */
  async revoke(revoked: Revoked): Promise<void> {
    const [kind, name] = "jti" in revoked ? ["jti", revoked.jti] : ["sub", revoked.sub];
    this.#tables.create(
      "revoked",
      `CREATE TABLE revoked (
         kind TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (kind, name)
       );
       CREATE INDEX revoked_at ON revoked (at);`,
    );
    this.#tables.write(
      "revoked",
      "INSERT OR REPLACE INTO revoked (kind, name, at) VALUES (?, ?, ?)",
      kind,
      name,
      nowSeconds(),
    );
    await this.#requireAlarm();
  }

  /**
   * Returns true if a token was revoked. The revocation of a subject covers the tokens that were issued
   * before it or in the same second.
   */
  async isRevoked(jti: string, sub: string, iat: number): Promise<boolean> {
    // Version 0.1.0 stored its revocations without an alarm.
    if (this.#tables.has("revoked")) await this.#requireAlarm();
    const rows = this.#tables.rows(
      "revoked",
      `SELECT 1 FROM revoked
         WHERE (kind = 'jti' AND name = ?) OR (kind = 'sub' AND name = ? AND at >= ?)`,
      jti,
      sub,
      iat,
    );
    return rows.length > 0;
  }

  /** Deletes what has expired. */
  override async alarm(): Promise<void> {
    this.#hasAlarm = false;
    const now = nowSeconds();
    if (deleteExpired(this.#tables, REVOCATION_RETENTIONS, now)) {
      await this.#setAlarm(now + MORE_PAUSE_SECONDS);
    } else if (this.#tables.areEmpty()) {
      await this.ctx.storage.deleteAll();
      this.#tables.reset();
    } else {
      await this.#requireAlarm();
    }
  }

  /** Sets the alarm for the first expiry, unless it is set. An object without rows is deleted at once. */
  async #requireAlarm(): Promise<void> {
    if (this.#hasAlarm) return;
    this.#hasAlarm = true;
    if ((await this.ctx.storage.getAlarm()) !== null) return;
    const expiry = nextExpiry(this.#tables, REVOCATION_RETENTIONS);
    await this.#setAlarm(Number.isFinite(expiry) ? expiry : nowSeconds());
  }

  async #setAlarm(seconds: number): Promise<void> {
    this.#hasAlarm = true;
    await this.ctx.storage.setAlarm(seconds * 1000);
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
