import { expect, it, vi } from "vitest";
import { GenerationClient } from "../../src/generation/client.ts";
import { Generation } from "../../src/generation/object.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { post } from "../support/worker/harness.ts";

quietAndFresh();

/** The factor by which a stream's waits are shortened. */
const SPEEDUP = 100;

it("sends a comment for every 15 seconds without an event, so that proxies keep the connection", async () => {
  // oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
  const { progress } = GenerationClient.prototype;
  const waits: number[] = [];
  vi.spyOn(GenerationClient.prototype, "progress").mockImplementation(function (
    this: GenerationClient,
    query,
  ) {
    waits.push(query.waitMs);
    return progress.call(this, { ...query, waitMs: query.waitMs / SPEEDUP });
  });
  // oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
  const { start } = Generation.prototype;
  vi.spyOn(Generation.prototype, "start").mockImplementation(function (
    this: Generation,
    request,
    query,
  ) {
    if (query === undefined) return start.call(this, request);
    waits.push(query.waitMs);
    return start.call(this, request, { ...query, waitMs: query.waitMs / SPEEDUP });
  });
  const prompt = `[upstream delay=1000] ${crypto.randomUUID()}`;
  const body = { model: "gpt-image-2", quality: "low", size: "1024x1024", stream: true, prompt };
  const response = await post(body);
  const events = (await response.text()).split("\n\n").filter((event) => event !== "");
  expect(new Set(waits)).toEqual(new Set([15_000]));
  expect(events.at(-1)).toContain("event: image_generation.completed");
  const comments = events.slice(0, -1);
  expect(comments).toEqual(Array.from({ length: waits.length - 1 }, () => ": waiting"));
  expect(comments.length).toBeGreaterThan(1);
});
