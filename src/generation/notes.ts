import type { ChargedAccounts } from "../access/accounts.ts";
import type { MicroDollars } from "../contract/pricing.ts";
import type { GenerationRecord } from "../contract/record.ts";
import type { Failure } from "../errors/failure.ts";
import type { KeyClaim } from "./idempotency.ts";

/**
 * The start of a generation that is not decided yet. It is stored before an account is called. If the
 * instance dies, the next one releases what may have been reserved.
 */
export interface Reserving {
  id: string;
  payer: ChargedAccounts;
  claim: KeyClaim | undefined;
  /** The number of failed releases. */
  attempts: number;
}

/** The decision whether a generation starts. */
export type Decision =
  | { kind: "begun"; amount: MicroDollars }
  | { kind: "refused"; failure: Failure }
  /** An account or the Idempotency-Key is unreachable. Something may be reserved. */
  | { kind: "undecided"; failure: Failure }
  /** Another generation holds the Idempotency-Key. */
  | { kind: "held"; generationId: string };

/** A deleted generation, remembered while a write to KV that began before may still arrive. */
export interface Tombstone {
  id: string;
  /** The request key that it may be stored under. */
  key: string;
  record: GenerationRecord;
  /** When it was deleted, Unix milliseconds. */
  deletedMs: number;
  /** When its entries in KV are deleted next, Unix milliseconds. */
  dueMs: number;
  /** True if that is the last time. */
  isLast: boolean;
  /** The number of failed deletions in a row. */
  attempts: number;
}

/** The newest record that the key's object has written to KV under the request key. */
export interface NewestRecord {
  id: string;
  /** Unix seconds. */
  created: number;
  /** Unix milliseconds. */
  writtenMs: number;
}

const RESERVING = "reserving/";
const DELETED = "deleted/";
const NEWEST = "newest";

/**
 * Stores what a Generation object must remember beside its generations. Version 0.1.0 ignores it.
 *
 * | key | value |
 * | --- | --- |
 * | `reserving/<id>` | a start that is not decided: Reserving |
 * | `deleted/<id>` | a deleted generation: Tombstone |
 * | `newest` | the newest record under the request key: NewestRecord |
 */
export class ObjectNotes {
  readonly #kv: SyncKvStorage;

  constructor(kv: SyncKvStorage) {
    this.#kv = kv;
  }

  reserving(): Reserving[] {
    return this.#list<Reserving>(RESERVING);
  }

  saveReserving(reserving: Reserving): void {
    this.#kv.put(`${RESERVING}${reserving.id}`, reserving);
  }

  deleteReserving(id: string): void {
    this.#kv.delete(`${RESERVING}${id}`);
  }

  tombstones(): Tombstone[] {
    return this.#list<Tombstone>(DELETED);
  }

  saveTombstone(tombstone: Tombstone): void {
    this.#kv.put(`${DELETED}${tombstone.id}`, tombstone);
  }

  deleteTombstone(id: string): void {
    this.#kv.delete(`${DELETED}${id}`);
  }

  newest(): NewestRecord | undefined {
    return this.#kv.get<NewestRecord>(NEWEST);
  }

  saveNewest(newest: NewestRecord): void {
    this.#kv.put(NEWEST, newest);
  }

  deleteNewest(): void {
    this.#kv.delete(NEWEST);
  }

  #list<Note>(prefix: string): Note[] {
    return [...this.#kv.list<Note>({ prefix })].map(([, note]) => note);
  }
}
