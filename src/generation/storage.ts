import type { MicroDollars, ReportedTokens } from "../contract/pricing.ts";
import type { GenerationRecord } from "../contract/record.ts";
import { mayHaveCharged, type Failure } from "../errors/failure.ts";
import type { ImageSink } from "../upstream/images.ts";
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

  /**
   * Deletes a generation. No lookup finds it any more. The bytes of its images stay for the streams that are
   * open, until `deleteImages`.
   */
  delete(id: string): void {
    this.#current = undefined;
    this.#write("DELETE FROM generation WHERE id = ?", id);
    this.#write("DELETE FROM partial WHERE id = ?", id);
  }

  /** Deletes the bytes of all images of a generation. A stream of one that is still open then fails. */
  deleteImages(id: string): void {
    this.#write("DELETE FROM chunk WHERE id = ?", id);
  }

  /** Starts over after all data was deleted. A stream that is still open then fails. */
  reset(): void {
    this.#current = undefined;
    this.#hasTables = false;
  }

  /** Returns all generations, the oldest first. */
  generations(): StoredGeneration[] {
    return this.#generations("ORDER BY rowid");
  }

  /** Stores the end of a completed generation. */
  complete(id: string, completed: Pick<StoredGeneration, "record" | "reported" | "slots">): void {
    this.update(id, { state: "done", ...completed, endedMs: Date.now() });
    this.#deleteUnusedImages(id, completed.slots);
  }

  /** Stores the failure of a generation. */
  fail(id: string, failure: Failure): void {
    this.update(id, { state: "failed", failure, endedMs: Date.now() });
    this.#deleteUnusedImages(id, []);
    this.#deleteOldFailures();
  }

  /** Deletes the images of a generation that are neither in these slots nor partial images. */
  #deleteUnusedImages(id: string, slots: readonly number[]): void {
    const used = [...slots, ...this.partials(id, 0).map((partial) => partial.slot)];
    this.#write(
      "DELETE FROM chunk WHERE id = ? AND slot NOT IN (SELECT value FROM json_each(?))",
      id,
      JSON.stringify(used),
    );
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
      this.deleteImages(id);
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

  /** Returns the sink of a generation's images: each part is one row. */
  sink(id: string): ImageSink {
    return {
      write: (slot, part, bytes) =>
        this.#write(
          "INSERT OR REPLACE INTO chunk (id, slot, part, bytes) VALUES (?, ?, ?, ?)",
          id,
          slot,
          part,
          // SQLite copies it.
          bytes.byteLength === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer,
        ),
      delete: (slot) => this.#write("DELETE FROM chunk WHERE id = ? AND slot = ?", id, slot),
    };
  }

  /** Returns one chunk of an image; `undefined` if it is deleted. */
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
    const image = generation?.record?.images[index];
    if (generation?.id !== id || image === undefined) return undefined;
    const body = this.openImage(generation, index);
    return { body, type: image.type, sizeBytes: image.bytes, isPrivate: !generation.job.store };
  }

  /** Opens all images of a completed generation. */
  images(generation: StoredGeneration): ReadableStream<Uint8Array>[] {
    return generation.slots.map((_, index) => this.openImage(generation, index));
  }

  /**
   * Opens one of the images of a completed generation.
   *
   * @throws {Error} if it has no such image
   */
  openImage({ id, record, slots }: StoredGeneration, index: number): ReadableStream<Uint8Array> {
    const slot = slots[index];
    const image = record?.images[index];
    if (slot === undefined || image === undefined) throw new Error("no such image is stored");
    return this.imageStream(id, slot, image.bytes);
  }

  /** Returns one of the partial images of a generation; `undefined` if it is not stored. */
  partialImage(id: string, slot: number): ReadableStream<Uint8Array> | undefined {
    const partial = this.partials(id, 0).find((each) => each.slot === slot);
    return partial && this.imageStream(id, slot, partial.sizeBytes);
  }

  /** Streams an image, one chunk at a time. The stream fails if the image is deleted before its end. */
  imageStream(id: string, slot: number, sizeBytes: number): ReadableStream<Uint8Array> {
    let part = 0;
    let leftBytes = sizeBytes;
    return new ReadableStream({
      type: "bytes",
      pull: (controller) => {
        if (leftBytes <= 0) {
          controller.close();
          controller.byobRequest?.respond(0);
          return;
        }
        const chunk = this.#readChunk(id, slot, part);
        if (chunk === undefined) throw new Error("an image was deleted while it was read");
        part += 1;
        leftBytes -= chunk.byteLength;
        controller.enqueue(chunk);
      },
    });
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
