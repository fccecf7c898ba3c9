import { afterAll, expect, inject, it } from "vitest";
import { closeConnections } from "../bench/client.ts";
import { isAboveBound, measureWaits, waitsLine } from "../bench/waits.ts";

afterAll(() => closeConnections());

it("the Worker makes no more sequential calls to KV, Durable Objects and rate limits than allowed", async () => {
  const rows = await measureWaits(inject("bundle"));
  // Fewer waits are an improvement: lower the bound in `test/bench/waits.ts`.
  const above = rows.filter((row) => isAboveBound(row));
  expect(above.map(waitsLine)).toEqual([]);
}, 120_000);
