import { z } from "zod";
import { parseRecord, type GenerationRecord } from "../contract/record.ts";
import type { Failure } from "../errors/failure.ts";
import { IMAGE_TYPES, type ImageType } from "../lib/image-type.ts";

/**
 * What is kept of generations: records by request key and by id, and the images' raw bytes.
 *
 * Every method may reject where the store fails. To a reader that is a miss; it never fails a
 * request.
 */
export interface Cache {
  /** The record that was kept for a request key. */
  recordByKey(key: string): Promise<GenerationRecord | undefined>;
  /** The record of a generation, and the request key that it was kept under. */
  recordById(id: string): Promise<{ record: GenerationRecord; key: string } | undefined>;
  /** The refusal that is remembered for a request key. */
  refusal(key: string): Promise<Failure | undefined>;
  storeRefusal(key: string, refusal: Failure, ttlSeconds: number): Promise<void>;
  /**
   * Returns one image as a native stream, which the caller must read or cancel.
   *
   * @param ageSeconds how long ago the generation is known to have been completed; 0 if that is unknown
   */
  image(id: string, index: number, ageSeconds: number): Promise<CachedImage | undefined>;
  /**
   * Keeps the images, then the record that names them: whoever reads a record finds its images.
   *
   * @param read the bytes of an image; asked for one at a time
   */
  store(key: string, record: GenerationRecord, read: (index: number) => Uint8Array): Promise<void>;
  /** Deletes a generation with its images, and the record of its request key unless that is another's. */
  remove(key: string, record: GenerationRecord): Promise<void>;
}

export interface CachedImage {
  type: ImageType;
  sizeBytes: number;
  body: ReadableStream<Uint8Array>;
}

/**
 * Images outlive their record by this much: a URL that a record's last second gave away still
 * works for an hour, as long as OpenAI's own URLs do.
 */
const IMAGE_GRACE_SECONDS = 60 * 60;

/**
 * How long a location of KV may answer from its own cache, in seconds. A location caches a miss as long as
 * a value. So an image that may not be in KV yet is looked up with KV's default, the time in which every
 * location sees a write. One that must be there never changes: an hour bounds how long a deleted one lingers.
 * https://developers.cloudflare.com/kv/api/read-key-value-pairs/#cachettl-parameter
 */
const DEFAULT_EDGE_SECONDS = 60;
const OLD_IMAGE_EDGE_SECONDS = 60 * 60;
/** From this age on every location sees an image. KV promises no bound; a minute is what it calls usual. */
const OLD_SECONDS = 10 * DEFAULT_EDGE_SECONDS;

/** KV accepts one write a second for each key, and rejects the others. */
const WRITE_ATTEMPTS = 3;
const WRITE_PAUSE_MS = 1100;

const generationMetadata = z.object({ key: z.string() });

/** Many upstreams give no details; JSON leaves out what is undefined. */
const refusalSchema = z
  .object({ code: z.literal("moderation_blocked"), details: z.unknown().optional() })
  .transform(({ code, details }): Failure => ({ code, details }));

const imageMetadata = z.object({ type: z.enum(IMAGE_TYPES), sizeBytes: z.int().min(1) });

/**
 * The cache in a KV namespace.
 *
 * | key | value |
 * | --- | --- |
 * | `request/<key>` | the record, JSON |
 * | `generation/<id>` | the same record, found by id, with `{key}` as metadata |
 * | `image/<id>/<index>` | raw bytes, with `{type, sizeBytes}` as metadata |
 * | `refusal/<key>` | the upstream's refusal of the prompt, JSON |
 *
 * @param ttlSeconds the life of a record
 */
export function kvCache(kv: KVNamespace, ttlSeconds: number): Cache {
  return {
    async recordByKey(key) {
      return parseRecord(await kv.get(`request/${key}`, "json"));
    },

    async recordById(id) {
      const { value, metadata } = await kv.getWithMetadata(`generation/${id}`, "json");
      const record = parseRecord(value);
      const found = generationMetadata.safeParse(metadata);
      return record === undefined || !found.success ? undefined : { record, ...found.data };
    },

    async refusal(key) {
      const found = refusalSchema.safeParse(await kv.get(`refusal/${key}`, "json"));
      return found.data;
    },

    async storeRefusal(key, refusal, ttlSeconds) {
      const json = JSON.stringify(refusal);
      await kv.put(`refusal/${key}`, json, { expirationTtl: ttlSeconds });
    },

    async image(id, index, ageSeconds) {
      const { value, metadata } = await kv.getWithMetadata(`image/${id}/${index}`, {
        type: "stream",
        cacheTtl: ageSeconds >= OLD_SECONDS ? OLD_IMAGE_EDGE_SECONDS : DEFAULT_EDGE_SECONDS,
      });
      if (value === null) return undefined;
      const image = imageMetadata.safeParse(metadata);
      if (image.success) return { ...image.data, body: value };
      await value.cancel();
      return undefined;
    },

    async store(key, record, read) {
      const expirationTtl = ttlSeconds + IMAGE_GRACE_SECONDS;
      for (const [index, { type, bytes: sizeBytes }] of record.images.entries()) {
        const bytes = read(index);
        if (bytes.byteLength !== sizeBytes) throw new Error("an image is not what its record says");
        const metadata = { type, sizeBytes };
        await kv.put(`image/${record.id}/${index}`, bytes, { expirationTtl, metadata });
      }
      const json = JSON.stringify(record);
      await kv.put(`generation/${record.id}`, json, { expirationTtl, metadata: { key } });
      await kv.put(`request/${key}`, json, { expirationTtl: ttlSeconds });
    },

    async remove(key, { id, images }) {
      const known = parseRecord(await kv.get(`request/${key}`, "json"));
      // This location may have cached a miss before the record was written.
      if (known === undefined || known.id === id) await deleteKey(kv, `request/${key}`);
      await Promise.all(images.map((_, index) => deleteKey(kv, `image/${id}/${index}`)));
      // Last: a deletion that fails halfway can be repeated by the id.
      await deleteKey(kv, `generation/${id}`);
    },
  };
}

async function deleteKey(kv: KVNamespace, key: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await kv.delete(key);
      return;
    } catch (error) {
      if (attempt === WRITE_ATTEMPTS) throw error;
    }
    await scheduler.wait(WRITE_PAUSE_MS);
  }
}
