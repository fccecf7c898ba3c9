import { z } from "zod";
import { parseRecord, type GenerationRecord } from "../contract/record.ts";
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
  /** One image, as a native stream that somebody must read or cancel. */
  image(id: string, index: number): Promise<CachedImage | undefined>;
  /** Keeps the images, then the record that names them: whoever reads a record finds its images. */
  store(key: string, record: GenerationRecord, images: readonly Uint8Array[]): Promise<void>;
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

/** An image never changes, so the edge may keep it; an hour bounds how long a deleted one lingers. */
const IMAGE_EDGE_SECONDS = 60 * 60;

const imageMetadata = z.object({ type: z.enum(IMAGE_TYPES), sizeBytes: z.int().min(1) });

/**
 * The cache in a KV namespace.
 *
 * | key | value |
 * | --- | --- |
 * | `request/<key>` | the record, JSON |
 * | `generation/<id>` | the same record, found by id |
 * | `image/<id>/<index>` | raw bytes, with `{type, sizeBytes}` as metadata |
 *
 * @param ttlSeconds the life of a record
 */
export function kvCache(kv: KVNamespace, ttlSeconds: number): Cache {
  return {
    async recordByKey(key) {
      return parseRecord(await kv.get(`request/${key}`, "json"));
    },

    async image(id, index) {
      const { value, metadata } = await kv.getWithMetadata(`image/${id}/${index}`, {
        type: "stream",
        cacheTtl: IMAGE_EDGE_SECONDS,
      });
      if (value === null) return undefined;
      const image = imageMetadata.safeParse(metadata);
      if (image.success) return { ...image.data, body: value };
      await value.cancel();
      return undefined;
    },

    async store(key, record, images) {
      // One at a time: the runtime copies each value while it is sent.
      for (const [index, bytes] of images.entries()) {
        await kv.put(`image/${record.id}/${index}`, bytes, {
          expirationTtl: ttlSeconds + IMAGE_GRACE_SECONDS,
          metadata: { type: record.images[index]?.type, sizeBytes: bytes.byteLength },
        });
      }
      const json = JSON.stringify(record);
      await kv.put(`generation/${record.id}`, json, {
        expirationTtl: ttlSeconds + IMAGE_GRACE_SECONDS,
      });
      await kv.put(`request/${key}`, json, { expirationTtl: ttlSeconds });
    },
  };
}
