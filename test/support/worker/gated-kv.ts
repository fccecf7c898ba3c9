import { kvAt, OBJECTS } from "./edge-kv.ts";

/** Writes to KV that a test lets through one at a time. */
export interface GatedKv {
  kv: KVNamespace;
  /** The names of the keys whose writes have begun, in order. */
  begun: string[];
  /** Lets the writes through that have begun, and all later ones. */
  open(): void;
  /** Fails the writes that have begun. Lets all later ones through. */
  fail(): void;
}

/**
 * Returns the KV of the objects' location, whose write with this number waits until the test opens it. The
 * writes before it are not delayed.
 *
 * @param number of the write, from 0
 */
export function gatedKv(number: number): GatedKv {
  const kv = kvAt(OBJECTS);
  const begun: string[] = [];
  const { promise: opened, resolve: open, reject } = Promise.withResolvers<void>();
  let isOpen = false;
  const put = async (key: string, value: ReadableStream, options: KVNamespacePutOptions) => {
    begun.push(key);
    if (begun.length > number && !isOpen) await opened;
    await kv.put(key, value, options);
  };
  return {
    begun,
    open,
    fail() {
      isOpen = true;
      reject(new Error("KV is down"));
    },
    kv: new Proxy(kv, {
      get: (target, name) => (name === "put" ? put : Reflect.get(target, name)),
    }),
  };
}
