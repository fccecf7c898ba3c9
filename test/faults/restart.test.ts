import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { JobFields } from "../../src/contract/job.ts";
import { read, type ErrorBody } from "../support/stage.ts";
import { eventually } from "../support/eventually.ts";
import { postGeneration, startGateway, type Gateway } from "../support/gateway.ts";
import { startSimulator, type Simulator } from "../support/upstream/simulator.ts";
import { newBody, newPrompt } from "../support/bodies.ts";
import { eventIn, hookAt, type Hook } from "../support/webhooks/hook.ts";
import { startReceiver, type Receiver } from "../support/webhooks/receiver.ts";

let upstream: Simulator;
let receiver: Receiver;
let directory: string;

beforeAll(async () => {
  upstream = await startSimulator();
  receiver = await startReceiver();
  directory = await mkdtemp(join(tmpdir(), "darkroom-state-"));
});
afterAll(async () => {
  await upstream.close();
  await receiver.close();
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

/** Submits a job under an Idempotency-Key, its prompt, and returns its id. */
async function submitJob(
  gateway: Gateway,
  body: { prompt: string },
  { url }: Hook,
): Promise<string> {
  const response = await postGeneration(
    gateway,
    { ...body, webhook_url: url },
    { prefer: "respond-async", "idempotency-key": body.prompt },
  );
  expect(response.status).toBe(202);
  return (await read(response)).id;
}

describe("a local gateway that restarts", () => {
  it("ends a job whose upstream call was in flight, without a second call, and delivers the failure", async () => {
    const body = newBody("[upstream delay=2000 times=1]");
    const hook = hookAt(receiver.origin);
    const before = await start();
    const job = await submitJob(before, body, hook);
    await eventually(() => expect(upstream.received(body.prompt)).toHaveLength(1));
    await before.close();

    const after = await start();
    try {
      await eventually(async () => expect(await hook.received()).toHaveLength(1));
      const [delivery] = await hook.received();
      expect(eventIn(delivery)).toMatchObject({
        type: "image.generation.failed",
        data: { job, error: { code: "upstream_outcome_unknown" } },
      });
      expect(upstream.received(body.prompt)).toHaveLength(1);
      expect(await submitJob(after, body, hook)).toBe(job);
    } finally {
      await after.close();
    }
  });

  it("runs a job that waited for its next attempt, and returns the same job for the repeated submission", async () => {
    const body = newBody("[upstream status=429 retry-after=3600 times=1]");
    const hook = hookAt(receiver.origin);
    const before = await start();
    const job = await submitJob(before, body, hook);
    await eventually(() => expect(upstream.received(body.prompt)).toHaveLength(1));
    await eventually(async () => {
      const response = await fetch(`${before.url}/v1/images/generations/${job}`);
      expect(await read<{ status: string }>(response)).toMatchObject({ status: "queued" });
    });
    await before.close();

    const after = await start();
    try {
      expect(await submitJob(after, body, hook)).toBe(job);
      await eventually(async () => expect(await hook.received()).toHaveLength(1));
      const [delivery] = await hook.received();
      expect(eventIn(delivery)).toMatchObject({
        type: "image.generation.completed",
        data: { job },
      });
      expect(upstream.received(body.prompt)).toHaveLength(2);
    } finally {
      await after.close();
    }
  });

  it("repeats a delivery that waited for its next attempt, with the same event and without a second upstream call", async () => {
    const body = newBody();
    const hook = hookAt(receiver.origin, "503+7200,200");
    const before = await start();
    const job = await submitJob(before, body, hook);
    const jobUrl = (gateway: Gateway) => `${gateway.url}/v1/images/generations/${job}`;
    const delivery = async (gateway: Gateway) =>
      (await read<JobFields>(await fetch(jobUrl(gateway)))).delivery;
    await eventually(async () => expect((await delivery(before))?.attempts).toHaveLength(1));
    await before.close();

    const after = await start();
    try {
      await eventually(async () => expect((await delivery(after))?.status).toBe("delivered"));
      const [first, second, ...more] = await hook.received();
      expect(more).toEqual([]);
      expect(second?.body).toBe(first?.body);
      expect(second?.headers["webhook-id"]).toBe(first?.headers["webhook-id"]);
      expect(upstream.received(body.prompt)).toHaveLength(1);
    } finally {
      await after.close();
    }
  });
});
