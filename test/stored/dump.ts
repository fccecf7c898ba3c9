import { env, listDurableObjectIds, runInDurableObject } from "cloudflare:test";
import * as worker from "../../src/index.ts";
import {
  encode,
  type Encoded,
  type StoredKvEntry,
  type StoredObject,
  type StoredTable,
} from "./fixture.ts";

/** Returns the bindings of one kind, by name. */
function bindingsOf<Binding extends object>(kind: string): Map<string, Binding> {
  const bindings = new Map<string, Binding>();
  for (const [name, binding] of Object.entries<unknown>({ ...env })) {
    const isOfKind =
      typeof binding === "object" && binding !== null && binding.constructor.name === kind;
    // The test runner has its own objects.
    if (isOfKind && !name.startsWith("__")) bindings.set(name, binding as Binding);
  }
  return bindings;
}

/** Returns the namespaces of Durable Objects, by the name of their binding. */
export function namespaces(): Map<string, DurableObjectNamespace> {
  return bindingsOf("DurableObjectNamespace");
}

/** Returns the KV namespaces, by the name of their binding. */
export function kvNamespaces(): Map<string, KVNamespace> {
  return bindingsOf("KvNamespace");
}

/** Returns the prototype of all bindings of a kind. A test that replaces a method there replaces it for all. */
export function sharedPrototype<Binding>(bindings: ReadonlyMap<string, Binding>): Binding {
  const [first] = bindings.values();
  return Object.getPrototypeOf(first) as Binding;
}

/**
 * Returns the storage of every Durable Object. Objects with empty storage are left out.
 *
 * @param names the names of the objects by their ids
 */
export async function dumpObjects(names: ReadonlyMap<string, string>): Promise<StoredObject[]> {
  const objects: StoredObject[] = [];
  for (const [binding, namespace] of namespaces()) {
    for (const id of await listDurableObjectIds(namespace)) {
      const stored = await runInDurableObject(namespace.get(id), async (instance, state) => ({
        binding,
        className: classNameOf(instance),
        id: id.toString(),
        name: names.get(id.toString()) ?? null,
        alarmMs: await state.storage.getAlarm(),
        tables: tablesOf(state.storage.sql),
        entries: Object.fromEntries(
          [...(await state.storage.list())].map(([key, value]) => [key, encode(value)]),
        ),
      }));
      const rows = stored.tables.flatMap((table) => table.rows);
      if (rows.length > 0 || Object.keys(stored.entries).length > 0) objects.push(stored);
    }
  }
  return objects;
}

/** Returns the name under which the Worker exports the class of an object. wrangler.toml has this name. */
function classNameOf(instance: DurableObject): string {
  const exported = Object.entries(worker).find(
    ([, each]) => typeof each === "function" && instance instanceof each,
  );
  if (exported === undefined) throw new Error("the Worker does not export the class of an object");
  return exported[0];
}

function tablesOf(sql: SqlStorage): StoredTable[] {
  const schema = sql
    .exec<{ table: string; sql: string }>(
      `SELECT tbl_name AS "table", sql FROM sqlite_master
         WHERE sql IS NOT NULL AND substr(tbl_name, 1, 4) <> '_cf_' ORDER BY type DESC, name`,
    )
    .toArray();
  return [...Map.groupBy(schema, (row) => row.table)].map(([name, rows]) => ({
    name,
    sql: rows.map((row) => row.sql),
    rows: sql
      .exec(`SELECT * FROM "${name}" ORDER BY rowid`)
      .toArray()
      .map((row) =>
        Object.fromEntries(Object.entries(row).map(([column, value]) => [column, encode(value)])),
      ),
  }));
}

/**
 * Returns every entry of every KV namespace.
 *
 * @param nowMs Unix milliseconds
 */
export async function dumpKv(nowMs: number): Promise<StoredKvEntry[]> {
  const entries: StoredKvEntry[] = [];
  for (const [binding, kv] of kvNamespaces()) {
    for (const { name: key, expiration } of (await kv.list()).keys) {
      const { value, metadata } = await kv.getWithMetadata(key, "arrayBuffer");
      if (value === null) throw new Error("a listed KV entry is missing");
      entries.push({
        binding,
        key,
        value: textOrBytes(new Uint8Array(value)),
        metadata: encode(metadata),
        expiresInSeconds: expiration === undefined ? null : expiration - Math.floor(nowMs / 1000),
      });
    }
  }
  return entries;
}

/** Encodes bytes as text if they are UTF-8. */
export function textOrBytes(bytes: Uint8Array): Encoded {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return encode(bytes);
  }
}
