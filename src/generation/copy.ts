import type { Cache } from "../cache/cache.ts";
import { isPartial, type GenerationRecord } from "../contract/record.ts";
import { errorFields, log } from "../telemetry/log.ts";
import { afterPurge } from "./lifecycle.ts";
import type { ObjectNotes, Tombstone } from "./notes.ts";
import type { StartRequest } from "./protocol.ts";

/** What a copy reads, and where it writes. */
export interface CopyOptions {
  cache: Cache;
  /** Opens one image. One is open at a time. */
  openImage: (index: number) => ReadableStream<Uint8Array>;
  /** Returns true once the generation was deleted. */
  isDeleted: () => boolean;
  /** Stores the record under its request key. */
  publish: (key: string, record: GenerationRecord) => Promise<void>;
}

/**
 * Copies a completed generation to KV: the images, the record by id, then the record under the request key. So
 * a stored record never names an image that is not stored.
 *
 * A deletion may come between any two writes. Then the copy ends, and the tombstone's deletion, which the alarm
 * performs next, removes what was written.
 *
 * A generation with fewer images than requested is stored by its id only.
 *
 * @throws if a write fails
 */
export async function copyToCache(
  record: GenerationRecord,
  job: StartRequest,
  { cache, openImage, isDeleted, publish }: CopyOptions,
): Promise<void> {
  for (const [index] of record.images.entries()) {
    if (isDeleted()) return;
    await cache.storeImage(record, index, () => openImage(index));
  }
  if (isDeleted()) return;
  await cache.storeById(record, job.key);
  if (isDeleted() || isPartial(record, job.request.n)) return;
  await publish(job.key, record);
}

/** What a purge changes. */
export interface PurgeOptions {
  /** Returns the cache. Throws if the configuration is invalid. */
  cache: () => Cache;
  notes: ObjectNotes;
  /** Deletes the record under its request key. */
  withdraw: (key: string, id: string) => Promise<void>;
  /** Deletes the bytes of its images from the object. */
  deleteImages: (id: string) => void;
}

/**
 * Deletes the entries of a deleted generation in KV. A failed deletion is retried by alarm. With the last
 * deletion, the images are deleted from the object as well: until then, clients may still read them.
 */
export async function purgeFromCache(
  tombstone: Tombstone,
  { cache, notes, withdraw, deleteImages }: PurgeOptions,
): Promise<void> {
  const { id, key, record } = tombstone;
  let succeeded = true;
  try {
    await withdraw(key, id);
    await cache().deleteById(record);
  } catch (error) {
    succeeded = false;
    log("error", "cache_write_failed", { id, ...errorFields(error) });
  }
  const next = afterPurge(tombstone, succeeded, Date.now());
  if (next === undefined) {
    notes.deleteTombstone(id);
    deleteImages(id);
  } else {
    notes.saveTombstone(next);
  }
}
