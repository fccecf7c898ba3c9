import type { Cache } from "../cache/cache.ts";
import type { GenerationRecord } from "../contract/record.ts";
import { MEMORY_MS, replaces } from "./lifecycle.ts";
import type { ObjectNotes } from "./notes.ts";

/**
 * Writes the record under one request key in KV. KV has no compare-and-set, so one object writes for all
 * generations of the key, one write at a time, and remembers the newest record.
 */
export class RequestKeyRecord {
  readonly #notes: ObjectNotes;
  /** Settles when the last write has ended. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(notes: ObjectNotes) {
    this.#notes = notes;
  }

  /** Writes a record, unless a newer one was written. */
  write(key: string, record: GenerationRecord, cache: Cache): Promise<void> {
    return this.#inTurn(async () => {
      const newest = this.#notes.newest() ?? (await writtenBefore(key, record, cache));
      if (!replaces(record, newest)) return;
      await cache.storeByKey(key, record);
      const { id, created } = record;
      this.#notes.saveNewest({ id, created, writtenMs: Date.now() });
    });
  }

  /** Deletes the record of a generation, unless another one was written since. */
  delete(key: string, id: string, cache: Cache): Promise<void> {
    return this.#inTurn(async () => {
      // What this object does not remember was written long ago, so that KV shows it.
      const newest = this.#notes.newest() ?? (await cache.recordByKey(key));
      if (newest !== undefined && newest.id !== id) return;
      await cache.deleteByKey(key);
      this.#notes.deleteNewest();
    });
  }

  #inTurn(write: () => Promise<void>): Promise<void> {
    const turn = this.#last.catch(() => undefined).then(write);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

/**
 * Returns the record that was written more than ten minutes ago: the object remembers what was written since. So
 * a younger record replaces it in any case, and it is not read.
 */
async function writtenBefore(
  key: string,
  { created }: GenerationRecord,
  cache: Cache,
): Promise<GenerationRecord | undefined> {
  const isYounger = Date.now() - created * 1000 < MEMORY_MS;
  return isYounger ? undefined : cache.recordByKey(key);
}
