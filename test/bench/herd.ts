import { send } from "./client.ts";
import { median, percentile, some, type Effort } from "./measure.ts";
import type { Row } from "./row.ts";
import { generation, type Servers } from "./servers.ts";
import { SLOW, SLOW_MS, SMALL_BYTES } from "./upstream.ts";

const CLIENTS = 200;
const ADDED_MS = 150;

/** The name of the row. */
export const HERD = `${CLIENTS} identical misses at once`;

/** Measures many identical misses at once: one upstream call, and all responses soon after its response. */
export async function herd(servers: Servers, effort: Effort): Promise<Row> {
  const count = some(CLIENTS, effort);
  const calls: number[] = [];
  const added: number[] = [];
  for (let round = 0; round < effort.rounds; round += 1) {
    const before = servers.upstream.calls();
    const prompt = `${SLOW} image ${round}`;
    const expect = { status: 200, cache: "fwd=miss", minBytes: SMALL_BYTES };
    const responses = await Promise.all(
      Array.from({ length: count }, () => send(generation(servers, { prompt }, expect))),
    );
    calls.push(servers.upstream.calls() - before);
    const latencies = responses.map((response) => response.ms);
    added.push(percentile(latencies, 99) - SLOW_MS);
  }
  return {
    name: HERD,
    figures: [
      { what: "upstream calls", value: Math.max(...calls), unit: "", target: 1 },
      { what: "p99 added", value: median(added), unit: " ms", target: ADDED_MS },
    ],
  };
}
