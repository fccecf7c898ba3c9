import type { GenerationRecord } from "../contract/record.ts";
import type { Failure } from "../errors/failure.ts";
import { concat } from "../lib/streams.ts";
import type { Job, PartialImage } from "./protocol.ts";

/**
 * `queued`: the alarm is set. `dispatched`: written before the upstream is called, so that whoever
 * finds it without being the one who wrote it knows that a picture may have been paid for.
 */
export type StoredState = "queued" | "dispatched" | "done" | "failed";

export interface StoredGeneration {
  id: string;
  /** Unix seconds. */
  created: number;
  state: StoredState;
  job: Job;
  record: GenerationRecord | undefined;
  /** The slot of each image, in order. */
  slots: number[];
  failure: Failure | undefined;
  /** When it came to its end, Unix milliseconds; from then on it is kept for its time. */
  endedMs: number | undefined;
  /** Whether the accounts that pay for it know what it cost. */
  settled: boolean;
  /** Whether KV has it, or need not. */
  copied: boolean;
  /**
   * When copying to KV ended, Unix milliseconds. Absent before that, without a copy, and in what version
   * 0.1.0 stored.
   */
  copiedMs?: number;
  /** How often settling or copying has failed. */
  attempts: number;
}

/** SQLite holds at most 2 MB in a value. */
const CHUNK_BYTES = 1024 * 1024;

const KEPT_FAILURES = 10;

/**
 * What a Generation object keeps in its SQLite.
 *
 * | table | rows |
 * | --- | --- |
 * | `generation` | the one that is being made or was made last, and those that failed: `{id, state, json}` |
 * | `partial` | its partial images: `{id, json}`, in the order in which they came |
 * | `chunk` | bytes, at most 1 MiB a row, by generation, slot and part |
 */
export class GenerationStorage {
  readonly #sql: SqlStorage;
  /** An object that only was asked for something it never had is to leave nothing behind. */
  #hasTables: boolean;
  /** The current generation as it stands in its table: hundreds may wait for it. */
  #current: { is: StoredGeneration | undefined } | undefined;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    const tables = sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'generation'");
    this.#hasTables = tables.toArray().length > 0;
  }

  /** The generation that is being made, or is there to be had. */
  current(): StoredGeneration | undefined {
    this.#current ??= { is: this.#generations("WHERE state <> 'failed'")[0] };
    return this.#current.is;
  }

  byId(id: string): StoredGeneration | undefined {
    const current = this.current();
    return current?.id === id ? current : this.#generations("WHERE id = ?", id)[0];
  }

  save(generation: StoredGeneration): void {
    this.#current = undefined;
    this.#write(
      "INSERT OR REPLACE INTO generation (id, state, json) VALUES (?, ?, ?)",
      generation.id,
      generation.state,
      JSON.stringify(generation),
    );
  }

  /** Makes room: only the failures are left, to be asked for. */
  clear(): void {
    this.#current = { is: undefined };
    if (!this.#hasTables) return;
    this.#write("DELETE FROM generation WHERE state <> 'failed'");
    this.#write("DELETE FROM partial");
    this.#write("DELETE FROM chunk");
  }

  /** Those that are over, and whose cost the accounts do not know yet. */
  unsettled(): StoredGeneration[] {
    return this.#generations().filter(({ endedMs, settled }) => endedMs !== undefined && !settled);
  }

  /** Failures are kept to be asked for, but only so many: a request may fail again and again. */
  forgetOldFailures(): void {
    this.#write(
      `DELETE FROM generation WHERE state = 'failed' AND rowid NOT IN
         (SELECT rowid FROM generation WHERE state = 'failed' ORDER BY rowid DESC LIMIT ?)`,
      KEPT_FAILURES,
    );
  }

  /** Returns the last failure with a code that is not older than `sinceMs`, Unix milliseconds. */
  failedSince(sinceMs: number, code: Failure["code"]): StoredGeneration | undefined {
    return this.#generations("WHERE state = 'failed' ORDER BY rowid DESC").find(
      ({ failure, endedMs = 0 }) => failure?.code === code && endedMs >= sinceMs,
    );
  }

  /**
   * Returns when the last of all expires, Unix milliseconds; `undefined` where there is none. The time counts
   * from the copy to KV, since until then only this object can answer.
   */
  keepUntilMs(): number | undefined {
    const ends = this.#generations().flatMap(({ endedMs, copiedMs = 0, job }) =>
      endedMs === undefined ? [] : Math.max(endedMs, copiedMs) + job.keepSeconds * 1000,
    );
    return ends.length === 0 ? undefined : Math.max(...ends);
  }

  addPartial(id: string, partial: PartialImage): void {
    this.#write("INSERT INTO partial (id, json) VALUES (?, ?)", id, JSON.stringify(partial));
  }

  /** The partial images of a generation after the first `seen` ones; of a failed one too. */
  partials(id: string, seen: number): PartialImage[] {
    return this.#read<{ json: string }>(
      "SELECT json FROM partial WHERE id = ? ORDER BY rowid LIMIT -1 OFFSET ?",
      id,
      seen,
    ).map((row): PartialImage => JSON.parse(row.json));
  }

  writeImage(id: string, slot: number, bytes: Uint8Array<ArrayBuffer>): void {
    for (let part = 0; part * CHUNK_BYTES < bytes.byteLength; part += 1) {
      const start = part * CHUNK_BYTES;
      this.#write(
        "INSERT OR REPLACE INTO chunk (id, slot, part, bytes) VALUES (?, ?, ?, ?)",
        id,
        slot,
        part,
        bytes.slice(start, start + CHUNK_BYTES).buffer,
      );
    }
  }

  /** One chunk of an image; `undefined` after its last, and when the generation is gone. */
  readChunk(id: string, slot: number, part: number): Uint8Array<ArrayBuffer> | undefined {
    const [row] = this.#read<{ bytes: ArrayBuffer }>(
      "SELECT bytes FROM chunk WHERE id = ? AND slot = ? AND part = ?",
      id,
      slot,
      part,
    );
    return row === undefined ? undefined : new Uint8Array(row.bytes);
  }

  /** All bytes of an image, for a store that wants them whole. */
  readImage(id: string, slot: number | undefined): Uint8Array<ArrayBuffer> {
    if (slot === undefined) return new Uint8Array();
    const chunks: Uint8Array[] = [];
    for (let part = 0; ; part += 1) {
      const chunk = this.readChunk(id, slot, part);
      if (chunk === undefined) return concat(chunks);
      chunks.push(chunk);
    }
  }

  #generations(condition = "", ...bindings: string[]): StoredGeneration[] {
    const query = `SELECT json FROM generation ${condition}`;
    return this.#read<{ json: string }>(query, ...bindings).map((row): StoredGeneration =>
      JSON.parse(row.json),
    );
  }

  #read<Row extends Record<string, SqlStorageValue>>(
    query: string,
    ...bindings: SqlStorageValue[]
  ): Row[] {
    return this.#hasTables ? this.#sql.exec<Row>(query, ...bindings).toArray() : [];
  }

  #write(query: string, ...bindings: SqlStorageValue[]): void {
    if (!this.#hasTables) this.#createTables();
    this.#sql.exec(query, ...bindings);
  }

  #createTables(): void {
    this.#sql.exec(`
      CREATE TABLE generation (id TEXT PRIMARY KEY, state TEXT NOT NULL, json TEXT NOT NULL);
      CREATE TABLE partial (id TEXT NOT NULL, json TEXT NOT NULL);
      CREATE TABLE chunk (
        id TEXT NOT NULL, slot INTEGER NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL,
        PRIMARY KEY (id, slot, part)
      );
    `);
    this.#hasTables = true;
  }
}
