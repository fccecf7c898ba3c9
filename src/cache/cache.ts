import * as z from "zod";
import type { Config } from "../config/environment.ts";
import { parseRecord, type GenerationRecord } from "../contract/record.ts";
import type { Failure } from "../errors/failure.ts";
import { IMAGE_TYPES, type ImageType } from "../lib/image-type.ts";
import { idPattern } from "../lib/object-id.ts";
import { readChunks } from "../lib/streams.ts";
import { TimedOut, within } from "../lib/within.ts";

/**
 * The cache of generations: records by request key and by id, and the raw bytes of the images.
 *
 * Every method rejects if the store fails, or does not respond in time. Callers treat a failed read as a
 * miss, so that it never fails a request.
 */
export interface Cache {
  /** Returns the record stored under a request key. */
  recordByKey(key: string): Promise<GenerationRecord | undefined>;
  /** Returns the record of a generation and the request key that it was stored under. */
  recordById(id: string): Promise<{ record: GenerationRecord; key: string } | undefined>;
  /** Returns the moderation block stored for a request key, or for the identity of a sender. */
  moderationBlock(key: string): Promise<Failure | undefined>;
  storeModerationBlock(key: string, block: Failure, ttlSeconds: number): Promise<void>;
  /**
   * Returns one image as a native stream, which the caller must read or cancel.
   *
   * @param ageSeconds a lower bound of the time since the generation completed; 0 if unknown
   */
  image(id: string, index: number, ageSeconds: number): Promise<CachedImage | undefined>;
  /**
   * Stores the bytes of one image. They are read from a stream, so that memory never holds the whole image.
   *
   * @param open opens the image; called for each attempt
   * @throws {Error} if the stream does not have the size in the record; then nothing is stored
   */
  storeImage(
    record: GenerationRecord,
    index: number,
    open: () => ReadableStream<Uint8Array>,
  ): Promise<void>;
  /** Stores a record by its id. Its images must be stored already. */
  storeById(record: GenerationRecord, key: string): Promise<void>;
  /** Stores a record under its request key. Only the key's Generation object may do so. */
  storeByKey(key: string, record: GenerationRecord): Promise<void>;
  /** Deletes a generation by its id, with its images. */
  deleteById(record: GenerationRecord): Promise<void>;
  /** Deletes the record under a request key. Only the key's Generation object may do so. */
  deleteByKey(key: string): Promise<void>;
}

/** An image, with its bytes as a native stream. */
export interface CachedImage {
  type: ImageType;
  sizeBytes: number;
  body: ReadableStream<Uint8Array>;
}

/**
 * The time from a record's expiry to that of its images. An image URL in the last response from the
 * record still works for one hour, as long as OpenAI's own URLs.
 */
const IMAGE_GRACE_SECONDS = 60 * 60;

/**
 * How long a KV location may serve its cached result, in seconds. A location caches a miss as long
 * as a value. So an image that may not be visible in KV yet is read with KV's default. An old image
 * is visible everywhere and never changes. One hour bounds how long a deleted one is still served.
 * https://developers.cloudflare.com/kv/api/read-key-value-pairs/#cachettl-parameter
 */
const DEFAULT_EDGE_SECONDS = 60;
const OLD_IMAGE_EDGE_SECONDS = 60 * 60;
/**
 * The age from which every location sees an image. KV documents "up to 60 seconds or more" without
 * an upper bound, hence the factor.
 */
const OLD_SECONDS = 10 * DEFAULT_EDGE_SECONDS;

/**
 * The time that one call may take. A read that was not cached takes up to a second, and a value has up to
 * 25 MiB.
 */
const READ_MS = 10_000;
const WRITE_MS = 20_000;
const WRITE_IMAGE_MS = 60_000;

/** KV accepts one write per second to the same key and rejects the others. */
const WRITE_ATTEMPTS = 3;
const WRITE_PAUSE_MS = 1100;

/** Every other id has no entry. KV rejects keys of more than 512 bytes. */
const GENERATION_ID = idPattern("gen");

const generationMetadata = z.object({ key: z.string() });

/** `details` is optional, because many upstreams send none and JSON omits `undefined`. */
const moderationBlockSchema = z
  .object({ code: z.literal("moderation_blocked"), details: z.unknown().optional() })
  .transform(({ code, details }): Failure => ({ code, details }));

const imageMetadata = z.object({ type: z.enum(IMAGE_TYPES), sizeBytes: z.int().min(1) });

/**
 * Returns the cache of a gateway, in its KV namespace.
 *
 * | key | value |
 * | --- | --- |
 * | `request/<key>` | the record, JSON |
 * | `generation/<id>` | the same record for lookup by id, with `{key}` as metadata |
 * | `image/<id>/<index>` | raw bytes, with `{type, sizeBytes}` as metadata |
 * | `refusal/<key>` | the moderation block, JSON |
 */
export function kvCache({ cache: kv, cacheTtlSeconds }: Config): Cache {
  return {
    async recordByKey(key) {
      return parseRecord(await within(READ_MS, kv.get(`request/${key}`, "json")));
    },

    async recordById(id) {
      if (!GENERATION_ID.test(id)) return undefined;
      const read = kv.getWithMetadata(`generation/${id}`, "json");
      const { value, metadata } = await within(READ_MS, read);
      const record = parseRecord(value);
      const parsed = generationMetadata.safeParse(metadata);
      return record === undefined || !parsed.success ? undefined : { record, ...parsed.data };
    },

    async moderationBlock(key) {
      const block = await within(READ_MS, kv.get(`refusal/${key}`, "json"));
      return moderationBlockSchema.safeParse(block).data;
    },

    async storeModerationBlock(key, block, ttlSeconds) {
      const json = JSON.stringify(block);
      await within(WRITE_MS, kv.put(`refusal/${key}`, json, { expirationTtl: ttlSeconds }));
    },

    async image(id, index, ageSeconds) {
      if (!GENERATION_ID.test(id)) return undefined;
      const read = kv.getWithMetadata(`image/${id}/${index}`, {
        type: "stream",
        cacheTtl: ageSeconds >= OLD_SECONDS ? OLD_IMAGE_EDGE_SECONDS : DEFAULT_EDGE_SECONDS,
      });
      const { value, metadata } = await within(READ_MS, read, (late) => late.value?.cancel());
      if (value === null) return undefined;
      const image = imageMetadata.safeParse(metadata);
      if (image.success) return { ...image.data, body: value };
      await value.cancel();
      return undefined;
    },

    async storeImage({ id, images }, index, open) {
      const image = images[index];
      if (image === undefined) throw new Error("a record has no such image");
      const metadata = { type: image.type, sizeBytes: image.bytes };
      const expirationTtl = cacheTtlSeconds + IMAGE_GRACE_SECONDS;
      const name = `image/${id}/${index}`;
      try {
        await putStream(open(), image.bytes, (body) =>
          within(WRITE_IMAGE_MS, kv.put(name, body, { expirationTtl, metadata })),
        );
      } catch (error) {
        // The local emulation of KV stores the beginning of a value that is cut.
        if (error instanceof NotWhole) await retryWrite(() => kv.delete(name));
        throw error;
      }
    },

    async storeById(record, key) {
      const expirationTtl = cacheTtlSeconds + IMAGE_GRACE_SECONDS;
      const json = JSON.stringify(record);
      const write = kv.put(`generation/${record.id}`, json, { expirationTtl, metadata: { key } });
      await within(WRITE_MS, write);
    },

    async storeByKey(key, record) {
      const json = JSON.stringify(record);
      await retryWrite(() => kv.put(`request/${key}`, json, { expirationTtl: cacheTtlSeconds }));
    },

    async deleteById({ id, images }) {
      const names = images.map((_, index) => `image/${id}/${index}`);
      await Promise.all(names.map((name) => retryWrite(() => kv.delete(name))));
      // Deleted last, so that a deletion that failed halfway can be retried by id.
      await retryWrite(() => kv.delete(`generation/${id}`));
    },

    deleteByKey: (key) => retryWrite(() => kv.delete(`request/${key}`)),
  };
}

/** Thrown if a stream fails or does not have its length. */
class NotWhole extends Error {
  override readonly name = "NotWhole";
}

/**
 * Writes a stream with its length, which KV requires. If the write fails, the stream is cancelled.
 *
 * @throws {NotWhole} if the stream fails or does not have this length
 */
async function putStream(
  source: ReadableStream<Uint8Array>,
  sizeBytes: number,
  put: (body: ReadableStream) => Promise<void>,
): Promise<void> {
  const { readable, writable } = new FixedLengthStream(sizeBytes);
  const writer = writable.getWriter();
  const abort = async (reason: unknown): Promise<never> => {
    await Promise.allSettled([writer.abort(reason)]);
    throw reason;
  };
  const feed = async () => {
    for await (const chunk of wholeChunks(source, sizeBytes)) await writer.write(chunk);
    await writer.close();
  };
  const [fed, stored] = await Promise.allSettled([feed().catch(abort), put(readable).catch(abort)]);
  if (fed.status === "rejected" && fed.reason instanceof NotWhole) throw fed.reason;
  if (stored.status === "rejected") throw stored.reason;
}

/** @throws {NotWhole} if the stream fails or does not have this length */
async function* wholeChunks(
  source: ReadableStream<Uint8Array>,
  sizeBytes: number,
): AsyncGenerator<Uint8Array, void> {
  let leftBytes = sizeBytes;
  try {
    for await (const chunk of readChunks(source, sizeBytes)) {
      leftBytes -= chunk.byteLength;
      yield chunk;
    }
  } catch (error) {
    throw new NotWhole("an image cannot be read", { cause: error });
  }
  if (leftBytes > 0) throw new NotWhole("an image is shorter than its record says");
}

/**
 * Writes to KV, retrying twice: another write to the key may have been less than a second ago. A write without
 * a response is not retried: it may still happen.
 */
async function retryWrite(write: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await within(WRITE_MS, write());
      return;
    } catch (error) {
      if (attempt === WRITE_ATTEMPTS || error instanceof TimedOut) throw error;
    }
    await scheduler.wait(WRITE_PAUSE_MS);
  }
}
