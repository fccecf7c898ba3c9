import { env } from "cloudflare:test";
import { hang } from "./held-limits.ts";

/*
 * Workers KV as the platform serves it, on top of the namespace that Miniflare emulates. In Miniflare every
 * write is visible everywhere at once, and none is rejected. The platform guarantees neither:
 * https://developers.cloudflare.com/kv/concepts/how-kv-works/ and /kv/platform/limits/
 */

export type KvMethod = "get" | "getWithMetadata" | "put" | "delete";

/** A fault of a call: its promise rejects, or never settles. */
type Fault = "fails" | "hangs";

/** A location's cached read of a key. */
interface CachedRead {
  /** `undefined` if the key did not exist. */
  entry: { bytes: ArrayBuffer; metadata: unknown } | undefined;
  readMs: number;
  ttlMs: number;
}

interface Location {
  reads: Map<string, CachedRead>;
  faults: Map<KvMethod, Fault>;
  /** Waits until a test lets a `put` through; absent while no test holds them. */
  hold?: (key: string) => Promise<void>;
}

/** Calls of `put` that a test lets through. */
export interface HeldWrites {
  /** The names of the keys whose writes have begun, in order. */
  begun: string[];
  /** Lets the writes through that have begun, and all later ones. */
  open(): void;
  /** Fails the writes that have begun. Lets all later ones through. */
  fail(): void;
}

/** Shortest and default `cacheTtl` of a read, in seconds. */
const MIN_CACHE_TTL_SECONDS = 30;
const CACHE_TTL_SECONDS = 60;
/** The shortest time between two writes to a key. */
const WRITE_INTERVAL_MS = 1000;

const locations = new Map<string, Location>();
const lastWriteMs = new Map<string, number>();
let elapsedMs = 0;

/** The location in which the Worker of a test serves requests. */
export const CLIENTS = "clients";
/**
 * The location in which objects and Workflows run. It is not the clients' location, because that is the
 * worst case.
 */
export const OBJECTS = "objects";

/**
 * Returns the KV namespace as one location sees it. The location caches each read for the read's `cacheTtl`,
 * whether the key existed or not. Until then it does not see a write, not even its own. A second write to a
 * key within a second rejects.
 */
export function kvAt(name: string): KVNamespace {
  const methods: Record<KvMethod, (...args: never[]) => Promise<unknown>> = {
    get: async (key: string, options?: ReadOptions) =>
      (await read(name, "get", key, options)).value,
    getWithMetadata: (key: string, options?: ReadOptions) =>
      read(name, "getWithMetadata", key, options),
    put: async (key: string, value: KvValue, options?: KVNamespacePutOptions) => {
      try {
        await write(name, "put", key, () => central().put(key, value, options));
      } catch (error) {
        if (value instanceof ReadableStream && !value.locked) await value.cancel();
        throw error;
      }
    },
    delete: (key: string) => write(name, "delete", key, () => central().delete(key)),
  };
  return new Proxy(central(), {
    get(target, property) {
      if (isKvMethod(property)) return methods[property];
      const value: unknown = Reflect.get(target, property);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Makes a method of a location's KV fail or hang, until it is set to `undefined`. */
export function setKvFault(name: string, method: KvMethod, fault: Fault | undefined): void {
  const { faults } = locationOf(name);
  if (fault === undefined) faults.delete(method);
  else faults.set(method, fault);
}

/**
 * Holds the calls of `put` in a location, so that they take as long as a test wants.
 *
 * @param number of the first call that is held, from 0: those before it are not delayed
 */
export function holdKvWrites(name: string, number: number): HeldWrites {
  const location = locationOf(name);
  const begun: string[] = [];
  const { promise: opened, resolve, reject } = Promise.withResolvers<void>();
  location.hold = async (key) => {
    begun.push(key);
    if (begun.length > number) await opened;
  };
  return {
    begun,
    open() {
      delete location.hold;
      resolve();
    },
    fail() {
      delete location.hold;
      reject(new Error("KV is down"));
    },
  };
}

/** Ages the cached reads of all locations. */
export function passKvTime(seconds: number): void {
  elapsedMs += seconds * 1000;
}

/** Deletes the cached reads and the faults of all locations. */
export function resetKv(): void {
  locations.clear();
  lastWriteMs.clear();
  elapsedMs = 0;
}

type KvValue = ArrayBuffer | ArrayBufferView | ReadableStream | string;
type ReadType = "text" | "json" | "arrayBuffer" | "stream";
type ReadOptions = ReadType | { type?: ReadType; cacheTtl?: number };

function central(): KVNamespace {
  return (env as unknown as { CACHE: KVNamespace }).CACHE;
}

function locationOf(name: string): Location {
  const known = locations.get(name);
  if (known !== undefined) return known;
  const location: Location = { reads: new Map(), faults: new Map() };
  locations.set(name, location);
  return location;
}

function isKvMethod(name: string | symbol): name is KvMethod {
  return name === "get" || name === "getWithMetadata" || name === "put" || name === "delete";
}

function nowMs(): number {
  return Date.now() + elapsedMs;
}

async function read(
  name: string,
  method: KvMethod,
  key: string,
  options: ReadOptions = "text",
): Promise<{ value: unknown; metadata: unknown }> {
  const location = locationOf(name);
  await fault(location, method);
  const { type = "text", cacheTtl = CACHE_TTL_SECONDS } =
    typeof options === "string" ? { type: options } : options;
  if (cacheTtl < MIN_CACHE_TTL_SECONDS) throw new Error("KV GET failed: 400 invalid cache_ttl");
  const entry = await lookUp(location, key, cacheTtl * 1000);
  if (entry === undefined) return { value: null, metadata: null };
  return { value: decoded(entry.bytes, type), metadata: entry.metadata };
}

/** Reads through the location's cache. A read with a shorter `cacheTtl` than the cached one may be a miss. */
async function lookUp(
  location: Location,
  key: string,
  ttlMs: number,
): Promise<CachedRead["entry"]> {
  const known = location.reads.get(key);
  if (known !== undefined && nowMs() - known.readMs < Math.min(known.ttlMs, ttlMs)) {
    return known.entry;
  }
  const { value: bytes, metadata } = await central().getWithMetadata(key, "arrayBuffer");
  const entry = bytes === null ? undefined : { bytes, metadata };
  location.reads.set(key, { entry, readMs: nowMs(), ttlMs });
  return entry;
}

function decoded(bytes: ArrayBuffer, type: ReadType): unknown {
  if (type === "arrayBuffer") return bytes.slice();
  if (type === "stream") return new Response(bytes).body;
  const text = new TextDecoder().decode(bytes);
  return type === "json" ? JSON.parse(text) : text;
}

async function write(
  name: string,
  method: KvMethod,
  key: string,
  toCentral: () => Promise<void>,
): Promise<void> {
  const location = locationOf(name);
  await fault(location, method);
  if (method === "put") await location.hold?.(key);
  if (nowMs() - (lastWriteMs.get(key) ?? Number.NEGATIVE_INFINITY) < WRITE_INTERVAL_MS) {
    throw new Error(`KV ${method.toUpperCase()} failed: 429 Too Many Requests`);
  }
  lastWriteMs.set(key, nowMs());
  await toCentral();
}

async function fault(location: Location, method: KvMethod): Promise<void> {
  const current = location.faults.get(method);
  if (current === "fails") throw new Error("KV is down");
  if (current === "hangs") await hang();
}
