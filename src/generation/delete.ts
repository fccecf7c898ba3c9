import type { Cache } from "../cache/cache.ts";
import type { Config } from "../config/environment.ts";
import { GatewayError } from "../errors/failure.ts";
import { clientOf, keyObject } from "./client.ts";
import { WITHOUT_WAITING } from "./protocol.ts";

/**
 * Deletes a generation, from its Durable Object and from KV.
 *
 * The object remembers the deletion, so that a copy to KV that is under way leaves nothing there.
 *
 * @throws {GatewayError} `generation_not_found`; `generation_in_progress` if it has not ended
 */
export async function deleteGeneration(id: string, config: Config, cache: Cache): Promise<void> {
  const client = clientOf(config, id);
  const [cached, progress] = await Promise.all([
    cache.recordById(id),
    client?.progress(WITHOUT_WAITING),
  ]);
  if (cached === undefined && progress === undefined) {
    throw new GatewayError({ code: "generation_not_found" });
  }
  if (progress?.state === "queued" || progress?.state === "in_progress") {
    throw new GatewayError({ code: "generation_in_progress" });
  }
  const deleted = await client?.delete();
  // KV may report the record as missing here. Then the object's record names the entries to delete.
  const stored = cached ?? deleted;
  if (stored === undefined) return;
  await keyObject(config, stored.key).withdraw(stored.key, id);
  await cache.deleteById(stored.record);
}
