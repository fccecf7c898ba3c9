/**
 * The process that the soak kills: the gateway on Miniflare, on a directory.
 *
 *     node gateway-process.ts BUNDLE DIRECTORY VARS-AS-JSON
 *
 * It sends its URL to its parent process, then responds to the parent's requests.
 */
import { withWorkerd } from "../bench/process.ts";
import { startGateway } from "../support/gateway.ts";
import { soakWorker } from "./worker.ts";

/** A request of the parent process. */
export type ParentRequest = "resident bytes" | "error lines" | "stored keys" | "close";

/** A key of KV, with fields of its record if it is the key of a record. */
export interface StoredKey {
  name: string;
  /** The generation of the record. */
  id?: string;
  /** The number of images in the record. */
  images?: number;
  /** The request key that the generation is stored under. */
  requestKey?: string;
}

/** A message to the parent process: the URL of the gateway, or the response to the request `id`. */
export type Message = { url: string } | { id: number; value: unknown };

const [bundle = "", directory = "", vars = "{}"] = process.argv.slice(2);
const { started: gateway, workerd } = await withWorkerd(() =>
  startGateway(bundle, JSON.parse(vars) as Record<string, string>, { directory, wrap: soakWorker }),
);
const send = (message: Message) => process.send?.(message);

async function responseTo(request: ParentRequest): Promise<unknown> {
  switch (request) {
    case "resident bytes":
      return workerd.residentBytes();
    case "error lines":
      return gateway
        .logs()
        .split("\n")
        .filter((line) => line.includes('"level":"error"') || !line.startsWith("{"))
        .slice(-MAX_LINES);
    case "stored keys":
      return storedKeys();
    case "close":
      await gateway.close();
      return true;
  }
}

const MAX_LINES = 200;

async function storedKeys(): Promise<StoredKey[]> {
  const stored: StoredKey[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await gateway.cache.list(cursor === undefined ? {} : { cursor });
    for (const { name, metadata } of page.keys) {
      const isRecord = name.startsWith("generation/") || name.startsWith("request/");
      if (!isRecord) {
        stored.push({ name });
        continue;
      }
      const record = await readRecord(name);
      const { key } = Object(metadata) as { key?: string };
      stored.push({
        name,
        ...(record === null ? {} : { id: record.id, images: record.images.length }),
        ...(key === undefined ? {} : { requestKey: key }),
      });
    }
    if (page.list_complete) return stored;
    cursor = page.cursor;
  }
}

async function readRecord(name: string): Promise<{ id: string; images: unknown[] } | null> {
  const json: unknown = await gateway.cache.get(name);
  return JSON.parse(typeof json === "string" ? json : "null");
}

// Without its parent, no other process would stop it.
process.on("disconnect", () => void gateway.close().finally(() => process.exit()));
process.on("message", ({ id, request }: { id: number; request: ParentRequest }) => {
  void respond(id, request);
});

async function respond(id: number, request: ParentRequest): Promise<void> {
  try {
    send({ id, value: await responseTo(request) });
  } catch (error) {
    send({ id, value: String(error) });
  }
  if (request === "close") process.disconnect();
}

send({ url: gateway.url });
