import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { usageOf } from "../../src/access/accounts.ts";
import type { GenerationBody } from "../support/stage.ts";
import { newBody, newPrompt, STREAM } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  bindings,
  errorOf,
  fetchWorker,
  post,
  sharedObject,
  testConfig,
  upstreamCalls,
} from "../support/worker/harness.ts";

quietAndFresh({ expectsErrors: true });

/** Returns the slots of the images in the object of a request. */
async function storedSlots(body: object): Promise<number[]> {
  return runInDurableObject(await sharedObject(body), (_, state) =>
    state.storage.sql
      .exec<{ slot: number }>("SELECT DISTINCT slot FROM chunk ORDER BY slot")
      .toArray()
      .map(({ slot }) => slot),
  );
}

/** Returns the micro-dollars that one request was charged. */
async function charged(): Promise<number> {
  return eventually(async () => {
    const { rows } = await usageOf(testConfig());
    const paid = rows.filter(({ spent }) => spent > 0);
    expect(paid).toHaveLength(1);
    return paid[0]?.spent ?? expect.fail("nothing is charged");
  });
}

describe("a generation of three images", () => {
  it.each([
    ["one is too large", "bytes=2000000 too-large=1", [0, 2]],
    ["one is not an image", "html=0", [1, 2]],
    ["the first is too large and the last is not an image", "too-large=0 html=2", [1]],
    ["two URLs lead to no image", "dialect=url html=0,2", [1]],
    ["a URL leads to an image that is too large", "dialect=url too-large=2", [0, 1]],
  ])("has the usable images if %s", async (_, directives, slots) => {
    const body = { ...newBody(`[upstream ${directives}]`), n: 3 };
    const response = await post({ ...body, response_format: "b64_json" });
    expect(response.status).toBe(200);
    expect(response.headers.get("cache-status")).toBe("darkroom; fwd=miss");
    const { id, data } = await response.json<GenerationBody>();
    expect(data).toHaveLength(slots.length);
    expect(await storedSlots(body)).toEqual(slots);
    await eventually(async () => {
      const { keys } = await bindings().CACHE.list();
      expect(keys.map(({ name }) => name).toSorted()).toEqual(
        [`generation/${id}`, ...slots.map((__, index) => `image/${id}/${index}`)].toSorted(),
      );
    });
    const polled = await fetchWorker(`/v1/images/generations/${id}?response_format=b64_json`);
    expect((await polled.json<GenerationBody>()).data).toEqual(data);
  });

  it.each([
    ["too large", "too-large=0,1,2", "too large (more than 25 MiB)"],
    ["not an image", "html=0,1,2", "is not PNG"],
    ["too large by URL", "dialect=url too-large=0,1,2", "too large (more than 25 MiB)"],
  ])("fails if all images are %s, and holds none", async (_, directives, reason) => {
    const body = { ...newBody(`[upstream ${directives}]`), n: 3 };
    const response = await post(body);
    const { message } = (await response.clone().json<{ error: { message: string } }>()).error;
    expect(message).toContain(reason);
    expect(await errorOf(response)).toEqual([502, "upstream_invalid_response", null]);
    expect(await storedSlots(body)).toEqual([]);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it.each([
    ["whose model has a price per image", {}],
    ["whose upstream reports no usage", { model: "gpt-image-2", quality: "low", usage: "none" }],
    ["whose upstream reports its usage", { model: "gpt-image-2", quality: "low" }],
  ])(
    "costs the same with an image that is left out: %s",
    async (
      _,
      {
        usage,
        ...fields
      }: {
        usage?: string;
        model?: string;
        quality?: string;
      },
    ) => {
      const request = { ...newBody(), size: "1024x1024", ...fields, n: 3 };
      const reported = usage === undefined ? "" : `usage=${usage}`;
      // Both prompts have the same length, because the prompt counts as well.
      const whole = { ...request, prompt: newPrompt(`[upstream html=9 ${reported}]`) };
      const partial = { ...request, prompt: newPrompt(`[upstream html=1 ${reported}]`) };
      expect((await post(whole)).status).toBe(200);
      const price = await charged();
      expect((await post(partial)).status).toBe(200);
      await eventually(async () => expect(await charged()).toBe(2 * price));
    },
  );
});

describe("a response with more images than requested", () => {
  it("returns the requested number, and holds no other", async () => {
    const body = { ...newBody("[upstream bytes=1500000 images=9]"), n: 2 };
    const { data } = await (await post(body)).json<GenerationBody>();
    expect(data).toHaveLength(2);
    expect(await storedSlots(body)).toEqual([0, 1]);
  });

  it("returns a further image in place of one that is not usable", async () => {
    const body = { ...newBody("[upstream images=3 html=0]"), n: 2 };
    const { data } = await (await post(body)).json<GenerationBody>();
    expect(data).toHaveLength(2);
    expect(await storedSlots(body)).toEqual([1, 2]);
  });
});

describe("a stream of partial images", () => {
  it("holds the partial images of up to 25 MiB beside the completed one", async () => {
    const body = {
      ...STREAM,
      partial_images: 3,
      prompt: newPrompt("[upstream bytes=26214400]"),
    };
    const text = await (await post(body)).text();
    expect(text.match(/^event: \S+/gm)).toEqual([
      ...Array.from({ length: 3 }, () => "event: image_generation.partial_image"),
      "event: image_generation.completed",
    ]);
    expect(await storedSlots(body)).toEqual([0, 1, 2, 3]);
  });

  it("fails if the completed image is too large, and holds none", async () => {
    const body = { ...STREAM, prompt: newPrompt("[upstream too-large=0]") };
    expect(await errorOf(await post(body))).toEqual([502, "upstream_invalid_response", null]);
    expect(await storedSlots(body)).toEqual([]);
  });
});
