import { listDurableObjectIds, runInDurableObject } from "cloudflare:test";

/** Returns true if a Durable Object stores something: a table, a value, or an alarm. */
export function storesAnything(object: DurableObjectStub): Promise<boolean> {
  return runInDurableObject(object, async (_, { storage }) => {
    const tables = storage.sql.exec(
      "SELECT 1 FROM sqlite_master WHERE name NOT LIKE '!_cf!_%' ESCAPE '!'",
    );
    const values = await storage.list({ limit: 1 });
    return tables.toArray().length > 0 || values.size > 0 || (await storage.getAlarm()) !== null;
  });
}

/** Returns the names, of those that are given, or else the ids of the objects that store something. */
export async function storingObjects(
  objects: DurableObjectNamespace,
  names: readonly string[] = [],
): Promise<string[]> {
  const byId = new Map(names.map((name) => [objects.idFromName(name).toString(), name]));
  const storing: string[] = [];
  for (const id of await listDurableObjectIds(objects)) {
    if (await storesAnything(objects.get(id)))
      storing.push(byId.get(id.toString()) ?? id.toString());
  }
  return storing;
}
