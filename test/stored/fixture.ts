/** A request that a scene sends, with its response. */
export interface Exchange {
  request: { method: string; url: string; headers: Record<string, string>; body: string | null };
  /** The body as text, or the hash of its bytes. */
  response: { status: number; headers: Record<string, string>; body: string };
}

/** A value as a fixture holds it: JSON, in which `$` marks what JSON cannot hold. */
export type Encoded =
  | string
  | number
  | boolean
  | null
  | { $: "undefined" }
  | { $: "bytes"; base64: string }
  | Encoded[]
  | { [name: string]: Encoded };

export interface StoredTable {
  name: string;
  /** The `CREATE` statements of the table and of its indexes. */
  sql: string[];
  rows: Record<string, Encoded>[];
}

/** The storage of a Durable Object. */
export interface StoredObject {
  binding: string;
  className: string;
  /** 64 hexadecimal digits. */
  id: string;
  /** The name that the id is derived from; `null` for a unique id. */
  name: string | null;
  /** Unix milliseconds; `null` if none is set. */
  alarmMs: number | null;
  tables: StoredTable[];
  /** Key-value storage. */
  entries: Record<string, Encoded>;
}

export interface StoredKvEntry {
  binding: string;
  key: string;
  /** Text, or bytes if it is not UTF-8. */
  value: Encoded;
  metadata: Encoded;
  /** Seconds until its expiry when the fixture was taken; `null` if it does not expire. */
  expiresInSeconds: number | null;
}

/** A step of a Workflow. Without `outcome` it was running when the fixture was taken. */
export interface StoredStep {
  kind: "do" | "sleep";
  name: string;
  outcome?: { result: Encoded } | { error: string };
}

export interface StoredWorkflow {
  className: string;
  instanceId: string;
  payload: Encoded;
  /** In the order of their start. */
  steps: StoredStep[];
}

/** Everything that the Worker has stored at the end of a scene. */
export interface Scene {
  takenAtMs: number;
  /** The variables that the requests were sent with. */
  vars: Record<string, string>;
  /** By the name that the scene gives them. */
  exchanges: Record<string, Exchange>;
  kv: StoredKvEntry[];
  objects: StoredObject[];
  workflows: StoredWorkflow[];
  /** The webhook deliveries that were attempted. */
  deliveries: { eventId: string; body: string }[];
}

/** Encodes a value from storage. */
export function encode(value: unknown): Encoded {
  if (value === undefined) return { $: "undefined" };
  if (value instanceof Uint8Array) return { $: "bytes", base64: value.toBase64() };
  if (value instanceof ArrayBuffer) return encode(new Uint8Array(value));
  if (value === null || ["string", "number", "boolean"].includes(typeof value)) {
    return value as string | number | boolean | null;
  }
  if (Array.isArray(value)) return value.map((item) => encode(item));
  if (typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, encode(each)]));
  }
  throw new Error("a fixture cannot hold this value");
}

/** Restores a value from its encoded form. */
export function decode(value: Encoded): unknown {
  if (Array.isArray(value)) return value.map((item) => decode(item));
  if (typeof value !== "object" || value === null) return value;
  if (value["$"] === "undefined") return undefined;
  if (value["$"] === "bytes") return Uint8Array.fromBase64(value["base64"] as string);
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, decode(each)]));
}
