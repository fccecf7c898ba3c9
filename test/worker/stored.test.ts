import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { kvNamespaces } from "../stored/dump.ts";
import { jsonOf, LoadedScene } from "../stored/load.ts";
import { VERSIONS } from "../stored/versions.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { ADMIN, environment, fetchWorker, upstreamCalls } from "../support/worker/harness.ts";

quietAndFresh();

interface Usage {
  spent_today_usd: number;
  days: { images: number }[];
}

async function usage(): Promise<Usage> {
  return (await fetchWorker("/v1/usage", environment(), { headers: ADMIN })).json();
}

/** Returns a field of a JSON body. */
function fieldOf({ body }: { body: string }, name: string): unknown {
  return Object(jsonOf(body))[name];
}

function codeOf(response: { status: number; body: string }) {
  return [response.status, Object(fieldOf(response, "error")).code];
}

async function kvKeys(): Promise<string[]> {
  const lists = [...kvNamespaces().values()].map((kv) => kv.list());
  return (await Promise.all(lists)).flatMap(({ keys }) => keys.map(({ name }) => name));
}

describe("the fixtures", () => {
  it("include the version that was deployed first", () => {
    expect(VERSIONS.map(([version]) => version)).toContain("2026-11-26-134f75a");
  });
});

describe.each(VERSIONS)("in the storage of version %s", (_, scenes) => {
  function load(name: string, withoutClass?: string): Promise<LoadedScene> {
    const scene = scenes[name];
    if (scene === undefined) throw new Error(`there is no scene ${name}`);
    return LoadedScene.of(scene, withoutClass);
  }

  describe("a generation", () => {
    it("that is completed is a cache hit, and is returned by id with its images", async () => {
      const scene = await load("generation-completed");
      await scene.expectSame("usage");
      await scene.expectSame("poll");
      for (const name of scene.named("file")) await scene.expectSame(name);
      const hit = await scene.repeat("request");
      expect(hit.headers["cache-status"]).toContain("darkroom; hit");
      expect(jsonOf(hit.body)).toEqual(jsonOf(scene.exchange("request").response.body));
      expect(await upstreamCalls(scene.promptOf("request"))).toBe(0);
    });

    it("that only KV has is a cache hit, is returned by id with its images, and can be deleted", async () => {
      const scene = await load("generation-completed", "Generation");
      await scene.expectSame("poll");
      for (const name of scene.named("file")) await scene.expectSame(name);
      const hit = await scene.repeat("request");
      expect(hit.headers["cache-status"]).toContain("darkroom; hit");
      expect(jsonOf(hit.body)).toEqual(jsonOf(scene.exchange("request").response.body));
      expect(await upstreamCalls(scene.promptOf("request"))).toBe(0);
      const { url } = scene.exchange("poll").request;
      await fetchWorker(url, environment(), { method: "DELETE", headers: ADMIN });
      expect(await kvKeys()).toEqual([]);
    });

    it("that is queued is generated once by its alarm", async () => {
      const scene = await load("generation-queued");
      await scene.expectSame("poll");
      const joined = await scene.repeat("request");
      const { response } = scene.exchange("request");
      expect(fieldOf(joined, "id")).toBe(fieldOf(response, "id"));
      await scene.runAlarms("Generation");
      await scene.runAlarms("Generation");
      expect((await scene.repeat("poll")).status).toBe(200);
      expect(fieldOf(await scene.repeat("request"), "id")).toBe(fieldOf(response, "id"));
      expect(await upstreamCalls(scene.promptOf("request"))).toBe(1);
      expect((await usage()).days[0]?.images).toBe(1);
    });

    it.each(["generation-dispatched", "generation-partial"])(
      "that is in flight fails with an unknown outcome and is charged in full, without another upstream call (%s)",
      async (name) => {
        const scene = await load(name);
        const { spent_today_usd: reserved } = await usage();
        expect(codeOf(await scene.repeat("poll"))).toEqual([502, "upstream_outcome_unknown"]);
        await scene.runAlarms("Generation");
        expect(codeOf(await scene.repeat("poll"))).toEqual([502, "upstream_outcome_unknown"]);
        expect(await usage()).toMatchObject({ spent_today_usd: reserved, days: [{ images: 0 }] });
        expect(await upstreamCalls(scene.promptOf("request"))).toBe(0);
      },
    );

    it("that is not in KV is served by its Durable Object, and copied to KV by its alarm", async () => {
      const scene = await load("generation-not-copied");
      await scene.expectSame("poll");
      for (const name of scene.named("file")) await scene.expectSame(name);
      expect(await kvKeys()).toEqual([]);
      await scene.runAlarms("Generation");
      expect(await kvKeys()).toHaveLength(3);
      await scene.expectSame("poll");
      for (const name of scene.named("file")) await scene.expectSame(name);
      expect((await scene.repeat("request")).headers["cache-status"]).toContain("hit");
      expect(await upstreamCalls(scene.promptOf("request"))).toBe(0);
    });

    it("that is not settled is settled by its alarm", async () => {
      const scene = await load("generation-not-settled");
      const { spent_today_usd: reserved, days } = await usage();
      expect(days).toEqual([]);
      await scene.runAlarms("Generation");
      const settled = await usage();
      expect(settled.days[0]?.images).toBe(1);
      expect(settled.spent_today_usd).toBeLessThan(reserved);
      await scene.expectSame("poll");
      expect(await upstreamCalls(scene.promptOf("request"))).toBe(0);
    });

    it("that is private is served by its Durable Object and is not copied to KV", async () => {
      const scene = await load("generation-private");
      await scene.expectSame("poll");
      for (const name of scene.named("file")) await scene.expectSame(name);
      await scene.runAlarms("Generation");
      expect(await kvKeys()).toEqual([]);
    });

    it("that failed returns the same failure, and a moderation block is cached", async () => {
      const scene = await load("generation-failed");
      await scene.expectSame("usage");
      for (const name of scene.named("poll")) await scene.expectSame(name);
      const blocked = await scene.repeat("request moderated");
      expect(codeOf(blocked)).toEqual([400, "moderation_blocked"]);
      expect(await upstreamCalls(scene.promptOf("request moderated"))).toBe(0);
    });

    it("that failed with an unknown outcome still returns that failure after its alarm", async () => {
      const scene = await load("generation-unknown");
      await scene.expectSame("poll");
      await scene.runAlarms("Generation");
      await scene.expectSame("poll");
      expect(await upstreamCalls(scene.promptOf("request"))).toBe(0);
    });
  });

  describe("an Idempotency-Key", () => {
    it("that is claimed accepts its own request", async () => {
      const scene = await load("idempotency-claimed");
      const headers = { "cache-control": "max-age=60" };
      const first = await scene.repeat("request", { headers });
      expect(first.status).toBe(200);
      expect(fieldOf(await scene.repeat("request"), "id")).toBe(fieldOf(first, "id"));
      expect(await upstreamCalls(scene.promptOf("request"))).toBe(1);
    });

    it("that is bound returns its generation without an upstream call", async () => {
      const scene = await load("idempotency-bound");
      for (const name of scene.named("request")) {
        await scene.expectSame(name);
        expect(await upstreamCalls(scene.promptOf(name))).toBe(0);
      }
    });
  });

  describe("a token", () => {
    it("keeps the spent amount of its budget", async () => {
      const scene = await load("token-budget");
      await scene.expectSame("usage");
      expect(codeOf(await scene.repeat("refused"))).toEqual([429, "budget_exceeded"]);
      expect((await scene.repeat("request")).status).toBe(200);
    });

    it("that is revoked stays revoked", async () => {
      const scene = await load("revocations");
      const uses = scene.named("use of");
      for (const name of uses) await scene.expectSame(name);
      const statuses = uses.map((name) => scene.exchange(name).response.status);
      expect(statuses).toEqual([401, 401, 404]);
    });
  });

  describe("a job", () => {
    /** Expects that the Idempotency-Key or webhook id returns the job, for its own request only. */
    async function expectSameJob(scene: LoadedScene): Promise<void> {
      const repeated = await scene.repeat("request");
      const id = fieldOf(scene.exchange("request").response, "id");
      expect([repeated.status, fieldOf(repeated, "job") ?? fieldOf(repeated, "id")]).toEqual([
        202,
        id,
      ]);
      const { headers } = scene.exchange("request").request;
      if (headers["idempotency-key"] === undefined) return;
      const other = await scene.repeat("request", { body: { webhook_url: "http://127.0.0.1/" } });
      expect(codeOf(other)).toEqual([422, "idempotency_key_reused"]);
    }

    it("that is accepted runs once, and delivers once", async () => {
      const scene = await load("job-accepted");
      await expectSameJob(scene);
      await scene.expectSame("poll");
      const { ran } = await scene.continueWorkflows();
      expect(ran).toEqual(["generate 1", "deliver 1"]);
      expect(scene.deliveries).toHaveLength(1);
      const poll = await scene.repeat("poll");
      expect([poll.status, fieldOf(poll, "status")]).toEqual([200, "completed"]);
      expect(await upstreamCalls(scene.promptOf("request"))).toBe(1);
    });

    it("that is running fails with an unknown outcome, without another upstream call", async () => {
      const scene = await load("job-running");
      await expectSameJob(scene);
      const { ran } = await scene.continueWorkflows();
      expect(ran).toEqual(["generate 1", "deliver 1"]);
      expect(codeOf(await scene.repeat("poll"))).toEqual([502, "upstream_outcome_unknown"]);
      expect(scene.deliveries).toHaveLength(1);
      expect(await upstreamCalls(scene.promptOf("request"))).toBe(0);
    });

    it("that waits for a retry continues after its wait", async () => {
      const scene = await load("job-waiting");
      await expectSameJob(scene);
      // Version 0.1.0 kept the failed generation of a job that waits. The batch and a DELETE say the same.
      const waiting = await scene.repeat("poll");
      expect([waiting.status, fieldOf(waiting, "status")]).toEqual([202, "in_progress"]);
      const { ran, replayed } = await scene.continueWorkflows();
      expect(replayed).toEqual(["generate 1"]);
      expect(ran.slice(0, 2)).toEqual(["wait 1", "generate 2"]);
      expect((await scene.repeat("poll")).status).toBe(200);
      expect(scene.deliveries).toHaveLength(1);
    });

    it.each(["job-delivering", "job-given-up", "batch-delivering"])(
      "repeats a failed delivery with the same event and body (%s)",
      async (name) => {
        const scene = await load(name);
        await expectSameJob(scene);
        await scene.expectSame("poll");
        const { ran, replayed } = await scene.continueWorkflows();
        const ended = scene.scene.workflows.flatMap(({ steps }) =>
          steps.filter(({ outcome }) => outcome !== undefined).map((step) => step.name),
        );
        expect(replayed).toEqual(ended);
        expect(ran).toEqual(["pause 1", "deliver 2"]);
        expect(scene.deliveries).toEqual(scene.scene.deliveries);
        const delivery = Object(fieldOf(await scene.repeat("poll"), "delivery"));
        expect(delivery).toMatchObject({ status: "delivered", attempts: [{}, {}] });
      },
    );

    it.each(["job-delivered", "job-failed", "job-of-a-webhook", "batch-completed"])(
      "that has ended is returned, and runs no further step (%s)",
      async (name) => {
        const scene = await load(name);
        await expectSameJob(scene);
        await scene.expectSame("poll");
        expect((await scene.continueWorkflows()).ran).toEqual([]);
        expect(scene.deliveries).toEqual([]);
      },
    );

    it("of a batch in progress continues, and the batch delivers once", async () => {
      const scene = await load("batch-running");
      await expectSameJob(scene);
      await scene.expectSame("poll");
      await scene.continueWorkflows();
      const poll = await scene.repeat("poll");
      expect(fieldOf(poll, "status")).toBe("completed");
      expect(fieldOf(poll, "request_counts")).toEqual({
        total: 2,
        completed: 1,
        failed: 1,
        cancelled: 0,
      });
      expect(scene.deliveries).toHaveLength(1);
      await eventually(() => expect(scene.deliveries[0]?.body).toContain("batch.completed"));
    });
  });
});
