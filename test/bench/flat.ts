import { send } from "./client.ts";
import { batch, median, some, type Effort } from "./measure.ts";
import type { Row } from "./row.ts";
import { cachedRecords, generation, type Servers } from "./servers.ts";
import { SMALL } from "./upstream.ts";

const ENTRIES = 2000;
/** The number of generations that are created concurrently. */
const AT_ONCE = 10;
const DRIFT = 1.1;
/** Passes over all entries. */
const PASSES = 3;

/** The name of the row. */
export const FLAT = `${ENTRIES} distinct small hits`;

/** Measures distinct small hits in sequence: the last quarter must cost the same as the first. */
export async function flat(servers: Servers, effort: Effort): Promise<Row> {
  const count = some(ENTRIES, effort);
  await createEntries(count, servers);
  const { workerd } = servers.gateway;
  const expect = { status: 200, cache: "hit" };
  const quarter = Math.ceil(count / 4);
  const drifts: number[] = [];
  const costs: number[] = [];
  for (let round = 0; round < Math.min(PASSES, effort.rounds); round += 1) {
    let entry = 0;
    const call = () => {
      const body = { prompt: entryPrompt(entry), response_format: "url" };
      entry += 1;
      return generation(servers, body, expect);
    };
    const first = await batch({ workerd, call }, quarter);
    await batch({ workerd, call }, count - 2 * quarter);
    const last = await batch({ workerd, call }, quarter);
    costs.push(last.cpuMs);
    drifts.push(last.cpuMs / first.cpuMs);
  }
  return {
    name: FLAT,
    cpuMs: median(costs),
    figures: [{ what: "last quarter by first", value: median(drifts), unit: "×", target: DRIFT }],
  };
}

async function createEntries(count: number, servers: Servers): Promise<void> {
  const earlier = await cachedRecords(servers.gateway, 0);
  let entry = 0;
  const worker = async () => {
    while (entry < count) {
      const prompt = entryPrompt(entry);
      entry += 1;
      const expect = { status: 200, cache: "fwd=miss" };
      await send(generation(servers, { prompt, response_format: "url" }, expect));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  await cachedRecords(servers.gateway, earlier + count);
}

function entryPrompt(entry: number): string {
  return `${SMALL} image ${entry}`;
}
