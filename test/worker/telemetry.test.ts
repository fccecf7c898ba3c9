import { describe, expect, it } from "vitest";
import { signQuery } from "../../src/access/signed-url.ts";
import { copied, environment, fetchWorker, post } from "../support/worker/harness.ts";
import { jobsWithoutPauses } from "../support/worker/job-workflows.ts";
import { newBody, SMALL } from "../support/bodies.ts";
import { TOKEN_SECRET } from "../support/vars.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";

const log = quietAndFresh({ expectsErrors: true });

jobsWithoutPauses();

/** Returns the logged request events, in the order of their responses. */
function events(): Record<string, unknown>[] {
  return log.info
    .map((line): Record<string, unknown> => JSON.parse(line))
    .filter(({ event }) => event === "request");
}

describe("the event of a request", () => {
  it("has the parameters, the cost and the times of a miss and of a hit", async () => {
    const body = newBody();
    await post(body);
    await copied();
    await post(body);
    const common = {
      level: "info",
      request_id: expect.stringMatching(/^req_/),
      method: "POST",
      route: "/v1/images/generations",
      status: 200,
      caller: expect.stringMatching(/^[0-9a-f]{16}$/),
      model: "dall-e-2",
      size: "256x256",
      quality: "standard",
      n: 1,
      generation: expect.stringMatching(/^gen_/),
      bytes: expect.any(Number),
      total_ms: expect.any(Number),
    };
    expect(events()).toMatchObject([
      { ...common, cache: "miss", cost_usd: 0.016, upstream_ms: expect.any(Number) },
      { ...common, cache: "hit", cost_usd: 0, cache_ms: expect.any(Number) },
    ]);
  });

  it("has the error code, and the route only if one matched", async () => {
    await post({});
    await fetchWorker("/wp-login.php");
    expect(events()).toMatchObject([
      { status: 400, route: "/v1/images/generations", error: "missing_required_parameter" },
      { status: 404, error: "not_found" },
    ]);
    expect(events()[1]).not.toHaveProperty("route");
  });

  it.each([
    ["GET", "/v1/images/generations/gen_1", "/v1/images/generations/:id"],
    ["DELETE", "/v1/images/generations/gen_1", "/v1/images/generations/:id"],
    ["GET", "/v1/images/batches/batch_1", "/v1/images/batches/:id"],
    ["HEAD", "/v1/images/gen_1/0.png", "/v1/images/:id/:file"],
    ["GET", "/v1/models/gpt-image-2", "/v1/models/:id"],
  ])("has the route that responds: %s %s", async (method, path, route) => {
    await fetchWorker(path, environment(), { method });
    expect(events()).toMatchObject([{ method, route }]);
  });

  it.each([
    [{ n: 2 }, { accept: "image/png" }, "not_acceptable"],
    [{ webhook_url: "https://hooks.example" }, {}, "unsupported_parameter"],
    [{}, { "idempotency-key": "k".repeat(256) }, "string_above_max_length"],
  ])(
    "has the parameters of a request that a later check rejects: %j, %j",
    async (parameters, headers, error) => {
      await post({ ...newBody(), ...parameters }, headers);
      expect(events()).toMatchObject([
        { status: expect.any(Number), error, model: "dall-e-2", size: "256x256" },
      ]);
    },
  );

  it("has the id of a generation that failed", async () => {
    const body = { ...SMALL, prompt: `[upstream status=400] ${crypto.randomUUID()}` };
    await post(body);
    const generated = log.info
      .map((line): Record<string, unknown> => JSON.parse(line))
      .find(({ event }) => event === "generation");
    expect(events()).toMatchObject([{ status: 400, generation: generated?.["id"] }]);
    expect(generated?.["id"]).toMatch(/^gen_/);
  });

  it("is written once if the gateway is misconfigured", async () => {
    await post(newBody(), {}, environment({ ACCESS: "invalid" }));
    expect(events()).toMatchObject([{ status: 500, error: "misconfigured" }]);
  });

  it("distinguishes callers without their IP addresses", async () => {
    const from = (address: string) => post({}, { "cf-connecting-ip": address });
    const body = newBody();
    for (const address of ["192.0.2.1", "192.0.2.2", "192.0.2.1"]) {
      await post(body, { "cf-connecting-ip": address });
    }
    await from("192.0.2.3");
    const callers = events().map(({ caller }) => caller);
    expect(callers[0]).toBe(callers[2]);
    expect(callers[0]).not.toBe(callers[1]);
    expect(log.info.join()).not.toContain("192.0.2");
  });

  it("contains no token of a URL and no query", async () => {
    const env = environment({ TOKEN_SECRET });
    const prompt = crypto.randomUUID();
    const expires = Math.floor(Date.now() / 1000) + 60;
    const query = await signQuery({ ...SMALL, prompt }, expires, TOKEN_SECRET);
    await fetchWorker(`/v1/images/generations?${query}`, env);
    await fetchWorker("/v1/webhooks/images/eyJhbGciOi.a.b", env, { method: "POST" });
    expect(events().map(({ route }) => route)).toEqual([
      "/v1/images/generations",
      "/v1/webhooks/images/:token",
    ]);
    for (const secret of [prompt, "sig=", "eyJhbGciOi"]) {
      expect(log.info.join()).not.toContain(secret);
    }
  });

  it("is written to Analytics Engine if that is bound", async () => {
    const points: AnalyticsEngineDataPoint[] = [];
    const ANALYTICS = { writeDataPoint: (point: AnalyticsEngineDataPoint) => points.push(point) };
    await post(newBody(), {}, environment({ ANALYTICS }));
    const [event] = events();
    const { request_id: id, caller, generation, bytes, upstream_ms, total_ms } = event ?? {};
    expect(points).toEqual([
      {
        indexes: ["/v1/images/generations"],
        blobs: [
          id,
          "/v1/images/generations",
          "POST",
          caller,
          "dall-e-2",
          "256x256",
          "standard",
          "miss",
          null,
          generation,
          "dall-e-2",
        ],
        doubles: [200, 1, bytes, upstream_ms, total_ms, 0.016],
      },
    ]);
  });
});

describe("the event of a generation", () => {
  it("has the cost of a generation that was requested asynchronously", async () => {
    await post(newBody(), { prefer: "respond-async" });
    await copied();
    const generations = log.info
      .map((line): Record<string, unknown> => JSON.parse(line))
      .filter(({ event }) => event === "generation");
    expect(generations).toMatchObject([{ model: "dall-e-2", n: 1, cost_usd: 0.016 }]);
  });
});
