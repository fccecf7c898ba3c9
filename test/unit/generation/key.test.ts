import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ImageSpec } from "../../../src/contract/image-spec.ts";
import { parseImageRequest } from "../../../src/contract/request.ts";
import { requestIdentity, requestKey, requestKeys } from "../../../src/generation/key.ts";
import { testConfig } from "../../support/unit-config.ts";
import { DECEMBER_MS } from "../../support/upstream/shutdowns.ts";
import { requestKeyOf } from "../../support/request-key.ts";

const VARS = {
  MODEL_ALIASES: "alias=gpt-image-2",
  EXTRA_PARAMETERS: "seed,steps",
  SVG_MODELS: JSON.stringify({ author: { text_in: 2, text_out: 12, max_tokens: 30_000 } }),
  UPSTREAM_BASE_URL: "https://upstream.example.com/v1",
};

const CONFIG = testConfig(VARS);

function keyFor(body: object): Promise<string> {
  return requestKeyOf(body, CONFIG);
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

const NEWEST = { model: "gpt-image-2.6-flare", prompt: "a man walks" };
const GIF = { ...NEWEST, output_format: "gif" };
const SVG = { ...NEWEST, output_format: "svg" };

/** Requests, and a parameter that version 0.1.0 does not have: with a value, at its default, and null. */
const FURTHER: [body: object, changed: object, same: object[]][] = [
  [NEWEST, { variant: 1 }, [{ variant: 0 }, { variant: null }]],
  [NEWEST, { complexity: "low" }, [{ complexity: null }]],
  [GIF, { frame_count: 8 }, [{ frame_count: 9 }, { frame_count: null }]],
  [GIF, { frame_duration_ms: 210 }, [{ frame_duration_ms: 200 }, { frame_duration_ms: null }]],
  [SVG, { svg: { model: "author" } }, [{ svg: null }, { svg: {} }, { svg: { model: null } }]],
  [
    SVG,
    { svg: { reasoning: { effort: "none" } } },
    [{ svg: { reasoning: null } }, { svg: { reasoning: { effort: null } } }],
  ],
  [NEWEST, { seed: 1 }, [{ seed: null }]],
  [NEWEST, { steps: 1 }, [{ steps: null }]],
  [NEWEST, { seed: "" }, []],
  [NEWEST, { seed: false }, []],
];

describe("the cache key", () => {
  it("is 64 hexadecimal digits", async () => {
    expect(await keyFor(FULL)).toMatch(/^[0-9a-f]{64}$/);
  });

  // Images are cached under these for up to a year. Another key for the same request pays for it again.
  it.each([
    [{ prompt: "a man walks" }, "6bf82536eecb548a647b618fb826ea18e8b5fbbc0fb6004bf5377d28f5772a4a"],
    [FULL, "8ad3102e9d363cf4c49a0f75ee25655f551389e684b41fc1f1dff421ba5557da"],
    [
      { model: "alias", prompt: "a man walks", stream: true, partial_images: 2, user: "u-1" },
      "9e77cc7a5e6f5b1ecd6f7fcaca0a320bbe5cb99542e41bfcbd468152e1d3ec2d",
    ],
    [
      {
        model: "dall-e-3",
        prompt: "a man walks",
        style: "natural",
        quality: "hd",
        size: "1792x1024",
      },
      "4f02ec15968724355756091e0bccd2c076cc632f1fae1f2a54008c6b9d8b869b",
    ],
    [
      { model: "dall-e-2", prompt: "é🦊", n: 3, size: "256x256" },
      "ee7a740a23189bca2e3b3820049bfabf8b5f3e69f14a9051a5b9d982cb2c523d",
    ],
  ])("is the key of earlier versions for %o", async (body, key) => {
    expect(await keyFor(body)).toBe(key);
  });

  it("does not change with the order of the fields", async () => {
    const key = await keyFor(FULL);
    const entries = Object.entries(FULL);
    const orders = fc.shuffledSubarray(entries, { minLength: entries.length });
    await fc.assert(
      fc.asyncProperty(orders, async (order) => {
        expect(await keyFor(Object.fromEntries(order))).toBe(key);
      }),
    );
  });

  it.each([
    ["a null field", { style: null, user: null }],
    ["an alias", { model: "alias" }],
    ["the response format", { response_format: "url" }],
    ["the number of partial images", { partial_images: 2 }],
    ["stream: false", { stream: false }],
    ["the user and the safety identifier", { user: "u-1", safety_identifier: "s-1" }],
  ])("does not change with %s", async (_, change) => {
    expect(await keyFor({ ...FULL, ...change })).toBe(await keyFor(FULL));
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
  ])("does not change if the defaults are written out: %s", async (_, body, defaults) => {
    expect(await keyFor({ ...body, ...defaults })).toBe(await keyFor(body));
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
    expect(await keyFor({ ...FULL, ...change })).not.toBe(await keyFor(FULL));
  });

  it.each(FURTHER)("of %o changes with %o, and not with %o", async (body, changed, same) => {
    const key = await keyFor(body);
    expect(await keyFor({ ...body, ...changed })).not.toBe(key);
    for (const change of same) expect(await keyFor({ ...body, ...change })).toBe(key);
  });

  it("differs for any two different values of the further parameters", async () => {
    const bodies = FURTHER.map(([body, changed]) => Object.assign({}, body, changed));
    const others = [{ seed: "1" }, { seed: true }, { seed: "true" }, { seed: 1, steps: 1 }];
    const all = [...bodies, ...others.map((other) => Object.assign({}, NEWEST, other))];
    const keys = await Promise.all(all.map((body) => keyFor(body)));
    expect(new Set(keys).size).toBe(all.length);
  });

  it("does not change with the order of the extra parameters or of EXTRA_PARAMETERS", async () => {
    const key = await keyFor({ ...NEWEST, seed: 1, steps: 2 });
    expect(await keyFor({ steps: 2, seed: 1, ...NEWEST })).toBe(key);
    const reversed = testConfig({ ...VARS, EXTRA_PARAMETERS: "steps,seed" });
    expect(await requestKeyOf({ ...NEWEST, seed: 1, steps: 2 }, reversed)).toBe(key);
  });

  it("changes with dall-e-3's style", async () => {
    const body = { prompt: "a", model: "dall-e-3" };
    expect(await keyFor({ ...body, style: "natural" })).not.toBe(await keyFor(body));
  });

  it("changes with the upstream, because another server generates other images", async () => {
    const other = testConfig({ ...VARS, UPSTREAM_BASE_URL: "https://other.example.com/v1" });
    expect(await requestKeyOf(FULL, other)).not.toBe(await keyFor(FULL));
  });

  it("differs for any two different prompts", async () => {
    // Any code point but a surrogate. fast-check needs seconds to set up its own "binary" unit.
    const unit = fc
      .integer({ min: 0, max: 0x10_f7_ff })
      .map((number) => String.fromCodePoint(number < 0xd8_00 ? number : number + 0x8_00));
    const prompt = fc.string({ minLength: 1, maxLength: 50, unit });
    await fc.assert(
      fc.asyncProperty(prompt, prompt, async (first, other) => {
        const isSame = (await keyFor({ prompt: first })) === (await keyFor({ prompt: other }));
        expect(isSame).toBe(first === other);
      }),
    );
  });
});

const NOVEMBER = Date.UTC(2026, 10, 30, 23, 59, 59, 999);
const BASE_URL = "https://api.openai.com/v1";

function parseAt(nowMs: number, body: object = {}, vars: Record<string, unknown> = {}) {
  const config = testConfig({ UPSTREAM_BASE_URL: BASE_URL, ...vars });
  return parseImageRequest({ prompt: "a man walks", ...body }, config, nowMs).spec;
}

describe("requestKeys", () => {
  it("returns the successor's key and the retired model's key after the shutdown", async () => {
    const before = await requestKeys(parseAt(NOVEMBER), BASE_URL);
    const after = await requestKeys(parseAt(DECEMBER_MS), BASE_URL);
    const successor = parseAt(DECEMBER_MS, { model: "gpt-image-2.6-sunburst" });
    expect(before.retiredKey).toBeUndefined();
    expect(after).toEqual({
      key: await requestKey(successor, BASE_URL),
      retiredKey: before.key,
    });
  });
});

describe("the fingerprint of requestIdentity", () => {
  const identityOf = async (spec: ImageSpec, baseUrl = BASE_URL) =>
    requestIdentity(spec, await requestKeys(spec, baseUrl));
  const fingerprintOf = async (spec: ImageSpec, baseUrl = BASE_URL) =>
    (await identityOf(spec, baseUrl)).fingerprint;

  it("does not change with a retirement, an alias or another upstream, unlike the cache key", async () => {
    const fingerprint = await fingerprintOf(parseAt(NOVEMBER));
    const others = [
      parseAt(DECEMBER_MS),
      parseAt(DECEMBER_MS, { model: "gpt-image-1.5" }),
      parseAt(NOVEMBER, {}, { MODEL_ALIASES: "gpt-image-1.5=gpt-image-2" }),
    ];
    for (const other of others) expect(await fingerprintOf(other)).toBe(fingerprint);
    expect(await fingerprintOf(parseAt(NOVEMBER), "https://other.example/v1")).toBe(fingerprint);
  });

  it.each([
    { model: "gpt-image-2.6-sunburst" },
    { prompt: "another" },
    { n: 2 },
    { size: "1024x1024" },
    { output_format: "webp" },
  ])("changes with %o", async (change) => {
    expect(await fingerprintOf(parseAt(DECEMBER_MS, change))).not.toBe(
      await fingerprintOf(parseAt(DECEMBER_MS)),
    );
  });

  it.each(FURTHER)("of %o changes with %o, and not with %o", async (body, changed, same) => {
    const fingerprintFor = (change: object) =>
      fingerprintOf(parseAt(NOVEMBER, { ...body, ...change }, VARS));
    const fingerprint = await fingerprintFor({});
    expect(await fingerprintFor(changed)).not.toBe(fingerprint);
    for (const change of same) expect(await fingerprintFor(change)).toBe(fingerprint);
  });

  it("is returned with the request key that version 0.1.0 compares, both unchanged by a retirement", async () => {
    const before = await identityOf(parseAt(NOVEMBER));
    expect(await identityOf(parseAt(DECEMBER_MS))).toEqual(before);
    expect(before.requestKey).toBe(await requestKey(parseAt(NOVEMBER), BASE_URL));
  });
});
