import type { GenerationRecord } from "../contract/record.ts";
import type { Failure } from "../errors.ts";
import { concat } from "../lib/streams.ts";
import type { Job, PartialImage } from "./job.ts";

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
  /** Whether KV has it, or need not. */
  copied: boolean;
  copyAttempts: number;
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

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Makes the tables where there are none: at first, and after everything was deleted. */
  createTables(): void {
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS generation (id TEXT PRIMARY KEY, state TEXT NOT NULL, json TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS partial (id TEXT NOT NULL, json TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS chunk (
        id TEXT NOT NULL, slot INTEGER NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL,
        PRIMARY KEY (id, slot, part)
      );
    `);
  }

  /** The generation that is being made, or is there to be had. */
  current(): StoredGeneration | undefined {
    return this.#select("SELECT json FROM generation WHERE state <> 'failed'")[0];
  }

  byId(id: string): StoredGeneration | undefined {
    return this.#select("SELECT json FROM generation WHERE id = ?", id)[0];
  }

  save(generation: StoredGeneration): void {
    this.#sql.exec(
      "INSERT OR REPLACE INTO generation (id, state, json) VALUES (?, ?, ?)",
      generation.id,
      generation.state,
      JSON.stringify(generation),
    );
  }

  /** Makes room: only the failures are left, to be asked for. */
  clear(): void {
    this.#sql.exec("DELETE FROM generation WHERE state <> 'failed'");
    this.#sql.exec("DELETE FROM partial");
    this.#sql.exec("DELETE FROM chunk");
  }

  /** Failures are kept to be asked for, but only so many: a request may fail again and again. */
  forgetOldFailures(): void {
    this.#sql.exec(
      `DELETE FROM generation WHERE state = 'failed' AND rowid NOT IN
         (SELECT rowid FROM generation WHERE state = 'failed' ORDER BY rowid DESC LIMIT ?)`,
      KEPT_FAILURES,
    );
  }

  /** Until when the last of all is to be kept, Unix milliseconds; `undefined` where there is none. */
  keepUntilMs(): number | undefined {
    const ends = this.#select("SELECT json FROM generation").flatMap(({ endedMs, job }) =>
      endedMs === undefined ? [] : endedMs + job.keepSeconds * 1000,
    );
    return ends.length === 0 ? undefined : Math.max(...ends);
  }

  addPartial(id: string, partial: PartialImage): void {
    this.#sql.exec("INSERT INTO partial (id, json) VALUES (?, ?)", id, JSON.stringify(partial));
  }

  /** The partial images of a generation after the first `seen` ones; of a failed one too. */
  partials(id: string, seen: number): PartialImage[] {
    return this.#sql
      .exec<{ json: string }>(
        "SELECT json FROM partial WHERE id = ? ORDER BY rowid LIMIT -1 OFFSET ?",
        id,
        seen,
      )
      .toArray()
      .map((row): PartialImage => JSON.parse(row.json));
  }

  writeImage(id: string, slot: number, bytes: Uint8Array): void {
    for (let part = 0; part * CHUNK_BYTES < bytes.byteLength; part += 1) {
      const start = part * CHUNK_BYTES;
      this.#sql.exec(
        "INSERT OR REPLACE INTO chunk (id, slot, part, bytes) VALUES (?, ?, ?, ?)",
        id,
        slot,
        part,
        bytes.slice(start, start + CHUNK_BYTES),
      );
    }
  }

  /** One chunk of an image; `undefined` after its last, and when the generation is gone. */
  readChunk(id: string, slot: number, part: number): Uint8Array<ArrayBuffer> | undefined {
    const [row] = this.#sql
      .exec<{ bytes: ArrayBuffer }>(
        "SELECT bytes FROM chunk WHERE id = ? AND slot = ? AND part = ?",
        id,
        slot,
        part,
      )
      .toArray();
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

  #select(query: string, ...bindings: string[]): StoredGeneration[] {
    return this.#sql
      .exec<{ json: string }>(query, ...bindings)
      .toArray()
      .map((row): StoredGeneration => JSON.parse(row.json));
  }
}
