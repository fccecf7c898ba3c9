import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { read, type ErrorBody } from "../support/stage.ts";
import { eventually } from "../support/eventually.ts";
import { postGeneration, startGateway, type Gateway } from "../support/gateway.ts";
import { startSimulator, type Simulator } from "../support/upstream/simulator.ts";
import { newPrompt } from "../support/bodies.ts";

let upstream: Simulator;
let directory: string;

beforeAll(async () => {
  upstream = await startSimulator();
  directory = await mkdtemp(join(tmpdir(), "darkroom-state-"));
});
afterAll(async () => {
  await upstream.close();
  await rm(directory, { recursive: true });
});

/** Starts the gateway on the same storage, as after a deployment or a crash. */
function start(): Promise<Gateway> {
  return startGateway(inject("bundle"), { UPSTREAM_BASE_URL: upstream.baseUrl }, { directory });
}

describe("a gateway that restarts", () => {
  it("during an upstream call returns a final `upstream_outcome_unknown` and does not repeat the call by itself", async () => {
    const body = { model: "dall-e-2", prompt: newPrompt("[upstream delay=2000 times=1]") };
    const before = await start();
    const pending = await postGeneration(before, body, { prefer: "respond-async" });
    const { id } = await read<{ id: string }>(pending);
    await eventually(() => expect(upstream.received(body.prompt)).toHaveLength(1));
    await before.close();

    const after = await start();
    try {
      const response = await fetch(`${after.url}/v1/images/generations/${id}`);
      expect(response.status).toBe(502);
      expect(response.headers.get("x-should-retry")).toBe("false");
      const { error } = await read<ErrorBody>(response);
      expect(error.code).toBe("upstream_outcome_unknown");
      expect(upstream.received(body.prompt)).toHaveLength(1);
      expect((await after.cache.list()).keys).toEqual([]);
      expect((await postGeneration(after, body)).status).toBe(200);
      expect(upstream.received(body.prompt)).toHaveLength(2);
    } finally {
      await after.close();
    }
  });

  it("returns an earlier image from the cache", async () => {
    const body = { model: "dall-e-2", prompt: newPrompt(), size: "256x256" };
    const before = await start();
    const generated = await read(await postGeneration(before, body));
    await eventually(async () => {
      const { keys } = await before.cache.list({ prefix: `generation/${generated.id}` });
      expect(keys).toHaveLength(1);
    });
    await before.close();

    const after = await start();
    try {
      const hit = await postGeneration(after, body);
      expect(hit.headers.get("cache-status")).toContain("hit");
      expect((await read(hit)).id).toBe(generated.id);
      expect(upstream.received(body.prompt)).toHaveLength(1);
    } finally {
      await after.close();
    }
  });
});
