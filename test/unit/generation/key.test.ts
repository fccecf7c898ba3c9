import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseImageRequest } from "../../../src/contract/request.ts";
import { requestKey } from "../../../src/generation/key.ts";
import { testConfig } from "../config-of.ts";

const VARS = {
  MODEL_ALIASES: "picture=gpt-image-2",
  UPSTREAM_BASE_URL: "https://upstream.example.com/v1",
};

function keyOf(body: object, vars: Record<string, unknown> = VARS): Promise<string> {
  const config = testConfig(vars);
  return requestKey(parseImageRequest(body, config), config.upstream.baseUrl);
}

const FULL = {
  model: "gpt-image-2",
  prompt: "a man walks",
  n: 2,
  size: "1024x1024",
  quality: "low",
  background: "opaque",
  output_format: "webp",
  output_compression: 50,
  moderation: "low",
};

describe("the key", () => {
  it("is 64 hexadecimal digits", async () => {
    expect(await keyOf(FULL)).toMatch(/^[0-9a-f]{64}$/);
  });

  it("does not change with the order of the fields", async () => {
    const key = await keyOf(FULL);
    const entries = Object.entries(FULL);
    const orders = fc.shuffledSubarray(entries, { minLength: entries.length });
    await fc.assert(
      fc.asyncProperty(orders, async (order) => {
        expect(await keyOf(Object.fromEntries(order))).toBe(key);
      }),
    );
  });

  it.each([
    ["a null", { style: null, user: null }],
    ["an alias", { model: "picture" }],
    ["how it is delivered", { response_format: "url" }],
    ["how many partial images there are", { partial_images: 2 }],
    ["that it is not streamed", { stream: false }],
    ["who asks", { user: "u-1", safety_identifier: "s-1" }],
  ])("does not change with %s", async (_, change) => {
    expect(await keyOf({ ...FULL, ...change })).toBe(await keyOf(FULL));
  });

  it.each([
    [
      "GPT image",
      { prompt: "a" },
      {
        n: 1,
        size: "auto",
        quality: "auto",
        background: "auto",
        output_format: "png",
        output_compression: 100,
        moderation: "auto",
        model: "gpt-image-1.5",
      },
    ],
    [
      "dall-e-3",
      { prompt: "a", model: "dall-e-3" },
      { n: 1, size: "1024x1024", quality: "standard", style: "vivid" },
    ],
  ])("does not change with defaults that are written out: %s", async (_, body, defaults) => {
    expect(await keyOf({ ...body, ...defaults })).toBe(await keyOf(body));
  });

  it.each([
    { model: "gpt-image-1.5" },
    { prompt: "A man walks" },
    { prompt: "a man walks " },
    { n: 3 },
    { size: "1024x1536" },
    { quality: "high" },
    { background: "transparent" },
    { output_format: "jpeg" },
    { output_compression: 51 },
    { moderation: "auto" },
  ])("changes with %o", async (change) => {
    expect(await keyOf({ ...FULL, ...change })).not.toBe(await keyOf(FULL));
  });

  it("changes with dall-e-3's style", async () => {
    const body = { prompt: "a", model: "dall-e-3" };
    expect(await keyOf({ ...body, style: "natural" })).not.toBe(await keyOf(body));
  });

  it("changes with the upstream: what a simulator painted is not what a model would", async () => {
    const other = { ...VARS, UPSTREAM_BASE_URL: "https://other.example.com/v1" };
    expect(await keyOf(FULL, other)).not.toBe(await keyOf(FULL));
  });

  it("tells any two prompts apart", async () => {
    const prompt = fc.string({ minLength: 1, maxLength: 50, unit: "binary" });
    await fc.assert(
      fc.asyncProperty(prompt, prompt, async (one, other) => {
        const isSame = (await keyOf({ prompt: one })) === (await keyOf({ prompt: other }));
        expect(isSame).toBe(one === other);
      }),
    );
  });
});
