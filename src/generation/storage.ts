import type { MicroDollars, ReportedTokens } from "../contract/pricing.ts";
import type { GenerationRecord } from "../contract/record.ts";
import { mayHaveCharged, type Failure } from "../errors/failure.ts";
import { concat } from "../lib/streams.ts";
import type { ObjectImage, PartialImage, StartRequest } from "./protocol.ts";

/**
 * `queued`: the alarm is set. `dispatched`: written before the upstream is called, so that another
 * instance that reads it knows that an image may have been charged.
 */
export type StoredState = "queued" | "dispatched" | "done" | "failed";

/** A generation as it is stored. Version 0.1.0 reads the rows, so the names of the fields stay. */
export interface StoredGeneration {
  id: string;
  /** Unix seconds. */
  created: number;
  state: StoredState;
  /** The request that started it. */
  job: StartRequest;
  /** The reserved amount, in micro-dollars. Absent in rows of version 0.1.0. */
  reserved?: MicroDollars | undefined;
  record: GenerationRecord | undefined;
  /** The tokens of an image to remember for later upper bounds, which the settlement stores. */
  reported?: ReportedTokens | undefined;
  /** The slot of each image, in order. */
  slots: number[];
  failure: Failure | undefined;
  /** When it ended, Unix milliseconds. */
  endedMs: number | undefined;
  /** True if its reservation is closed. */
  settled: boolean;
  /** True if KV has it, or must not. */
  copied: boolean;
  /**
   * When the copy to KV ended, Unix milliseconds. Absent before that, without a copy, and in rows of
   * version 0.1.0.
   */
  copiedMs?: number;
  /** The number of failed settlements; in rows of version 0.1.0, of failed settlements and copies. */
  attempts: number;
  /** The number of failed copies to KV. Absent before the first one, and in rows of version 0.1.0. */
  copyAttempts?: number;
}

/** SQLite holds at most 2 MB in a value. */
const CHUNK_BYTES = 1024 * 1024;

const MAX_FAILURES = 10;

/**
 * The SQLite storage of a Generation object.
 *
 * | table | rows |
 * | --- | --- |
 * | `generation` | the current or last generation, and failed ones: `{id, state, json}` |
 * | `partial` | its partial images: `{id, json}`, in order of arrival |
 * | `chunk` | image bytes, at most 1 MiB in a row, by generation, slot and part |
 */
export class GenerationStorage {
  readonly #sql: SqlStorage;
  /** True once the tables exist. An object that is only read stores nothing. */
  #hasTables: boolean;
  /** The current generation, held in memory because hundreds of clients may poll it. */
  #current: { generation: StoredGeneration | undefined } | undefined;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    const tables = sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'generation'");
    this.#hasTables = tables.toArray().length > 0;
  }

  /** Returns the generation that is queued, in progress or completed. */
  current(): StoredGeneration | undefined {
    this.#current ??= { generation: this.#generations("WHERE state <> 'failed'")[0] };
    return this.#current.generation;
  }

  /** Returns a generation, also a failed one. */
  byId(id: string): StoredGeneration | undefined {
    const current = this.current();
    return current?.id === id ? current : this.#generations("WHERE id = ?", id)[0];
  }

  /** Stores a generation in place of the one with its id. */
  save(generation: StoredGeneration): void {
    this.#current = undefined;
    this.#write(
      "INSERT OR REPLACE INTO generation (id, state, json) VALUES (?, ?, ?)",
      generation.id,
      generation.state,
      JSON.stringify(generation),
    );
  }

  /** Changes a stored generation. One that was replaced meanwhile is not stored again. */
  update(id: string, changes: Partial<StoredGeneration>): void {
    const stored = this.byId(id);
    if (stored !== undefined) this.save({ ...stored, ...changes });
  }

  /** Deletes the current generation. Failed ones stay, for lookups by id and until they are settled. */
  clear(): void {
    this.#current = { generation: undefined };
    if (!this.#hasTables) return;
    this.#write("DELETE FROM generation WHERE state <> 'failed'");
    this.#write("DELETE FROM partial");
    this.#write("DELETE FROM chunk");
  }

  /** Starts over after all data was deleted. A stream that is still open then ends. */
  reset(): void {
    this.#current = undefined;
    this.#hasTables = false;
  }

  /** Returns all generations, the oldest first. */
  generations(): StoredGeneration[] {
    return this.#generations("ORDER BY rowid");
  }

  /** Stores the failure of a generation. */
  fail(id: string, failure: Failure): void {
    this.update(id, { state: "failed", failure, endedMs: Date.now() });
    this.#deleteOldFailures();
  }

  /**
   * Deletes the failed generations that are settled, except the newest: a request may fail any number of times.
   * One that holds an Idempotency-Key and may have been charged stays without its images: a repetition of its
   * request would pay again.
   */
  #deleteOldFailures(): void {
    const old = this.#generations(
      "WHERE state = 'failed' ORDER BY rowid DESC LIMIT -1 OFFSET ?",
      MAX_FAILURES,
    );
    for (const { id, settled, failure, job } of old) {
      this.#write("DELETE FROM partial WHERE id = ?", id);
      this.#write("DELETE FROM chunk WHERE id = ?", id);
      const mayPayAgain = job.claim !== undefined && failure && mayHaveCharged(failure);
      if (settled && mayPayAgain !== true) this.#write("DELETE FROM generation WHERE id = ?", id);
    }
  }

  /** Stores a partial image, whose bytes are stored already. */
  addPartial(id: string, partial: PartialImage): void {
    this.#write("INSERT INTO partial (id, json) VALUES (?, ?)", id, JSON.stringify(partial));
  }

  /** Returns the partial images of a generation after the first `seen` ones, even if it failed. */
  partials(id: string, seen: number): PartialImage[] {
    return this.#read<{ json: string }>(
      "SELECT json FROM partial WHERE id = ? ORDER BY rowid LIMIT -1 OFFSET ?",
      id,
      seen,
    ).map((row): PartialImage => JSON.parse(row.json));
  }

  /** Stores the bytes of an image in chunks. */
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

  /** Returns one chunk of an image; `undefined` after the last one, and once it is deleted. */
  #readChunk(id: string, slot: number, part: number): Uint8Array<ArrayBuffer> | undefined {
    const [row] = this.#read<{ bytes: ArrayBuffer }>(
      "SELECT bytes FROM chunk WHERE id = ? AND slot = ? AND part = ?",
      id,
      slot,
      part,
    );
    return row === undefined ? undefined : new Uint8Array(row.bytes);
  }

  /** Returns one of the images of the current generation; `undefined` if it has none there. */
  image(id: string, index: number): ObjectImage | undefined {
    const generation = this.current();
    if (generation?.id !== id) return undefined;
    const slot = generation.slots[index];
    const image = generation.record?.images[index];
    if (slot === undefined || image === undefined) return undefined;
    const { type, bytes: sizeBytes } = image;
    const body = this.imageStream(id, slot);
    return { body, type, sizeBytes, isPrivate: !generation.job.store };
  }

  /** Returns one of the partial images of a generation; `undefined` if it is not stored. */
  partialImage(id: string, slot: number): ReadableStream<Uint8Array> | undefined {
    const isStored = this.partials(id, 0).some((partial) => partial.slot === slot);
    return isStored ? this.imageStream(id, slot) : undefined;
  }

  /** Streams an image, one chunk at a time. */
  imageStream(id: string, slot: number): ReadableStream<Uint8Array> {
    let part = 0;
    return new ReadableStream({
      type: "bytes",
      pull: (controller) => {
        const chunk = this.#readChunk(id, slot, part);
        part += 1;
        if (chunk === undefined) {
          controller.close();
          controller.byobRequest?.respond(0);
        } else {
          controller.enqueue(chunk);
        }
      },
    });
  }

  /** Returns all bytes of an image: KV stores a value at once. */
  readImage(id: string, slot: number | undefined): Uint8Array<ArrayBuffer> {
    if (slot === undefined) return new Uint8Array();
    const chunks: Uint8Array[] = [];
    for (let part = 0; ; part += 1) {
      const chunk = this.#readChunk(id, slot, part);
      if (chunk === undefined) return concat(chunks);
      chunks.push(chunk);
    }
  }

  #generations(condition = "", ...bindings: SqlStorageValue[]): StoredGeneration[] {
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
