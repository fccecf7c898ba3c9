import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Config } from "../../../src/config/environment.ts";
import { parseImageRequest, type ImageRequest } from "../../../src/contract/request.ts";
import { GatewayError } from "../../../src/errors/failure.ts";
import { requestKey } from "../../../src/generation/key.ts";
import { upstreamBody } from "../../../src/upstream/request.ts";
import { testConfig } from "../../support/unit-config.ts";

function sent(body: object, vars: Record<string, unknown> = {}) {
  const config = testConfig(vars);
  return upstreamBody(parseImageRequest(body, config, Date.now()), config.upstream);
}

/** Returns a request; `undefined` if its body is invalid. */
function tryParse(body: object, config: Config): ImageRequest | undefined {
  try {
    return parseImageRequest(body, config, Date.now());
  } catch (error) {
    if (error instanceof GatewayError) return undefined;
    throw error;
  }
}

const SVG_MODEL = { text_in: 2, text_out: 12, max_tokens: 30_000 };

describe("the request body for the upstream", () => {
  it("contains only model, prompt and n if the client sends only a prompt", () => {
    expect(sent({ prompt: "a" })).toEqual({ model: "gpt-image-1.5", prompt: "a", n: 1 });
  });

  it("omits default values and delivery options", () => {
    const defaults = {
      quality: "auto",
      background: "auto",
      output_format: "png",
      output_compression: 100,
      moderation: "auto",
      size: "auto",
      variant: 7,
      stream: false,
      partial_images: 2,
      response_format: "url",
    };
    expect(sent({ prompt: "a", ...defaults })).toEqual(sent({ prompt: "a" }));
  });

  it("contains stream and partial_images if the client requests a stream", () => {
    expect(sent({ prompt: "a", stream: true, partial_images: 2 })).toEqual({
      ...sent({ prompt: "a" }),
      stream: true,
      partial_images: 2,
    });
  });

  it("contains every other parameter that the client sends", () => {
    const body = {
      model: "gpt-image-2",
      prompt: "a",
      n: 3,
      size: "2048x1152",
      quality: "low",
      background: "transparent",
      output_format: "webp",
      output_compression: 40,
      moderation: "low",
      user: "u-1",
      safety_identifier: "s-1",
    };
    expect(sent(body)).toEqual(body);
  });

  it("contains the parameters of gpt-image-2.6 that are not at their defaults", () => {
    const body = {
      model: "gpt-image-2.6-flare",
      prompt: "a",
      n: 1,
      size: "512x512",
      output_format: "gif",
      complexity: "low",
      frame_count: 4,
      frame_duration_ms: 120,
    };
    expect(sent(body)).toEqual(body);
    const { frame_count: _, frame_duration_ms: __, ...withoutFrames } = body;
    expect(sent({ ...withoutFrames, frame_count: 9, frame_duration_ms: 200 })).toEqual(
      withoutFrames,
    );
  });

  it("contains the author of an SVG without the values that are null", () => {
    const vars = { SVG_MODELS: JSON.stringify({ author: SVG_MODEL }) };
    const body = { model: "gpt-image-2.6-flare", prompt: "a", n: 1, output_format: "svg" };
    const svg = { model: "author", reasoning: { effort: "high" } };
    expect(sent({ ...body, svg }, vars)).toEqual({ ...body, svg });
    expect(sent({ ...body, svg: { model: "author", reasoning: null } }, vars)).toEqual({
      ...body,
      svg: { model: "author" },
    });
    expect(sent({ ...body, svg: { reasoning: { effort: null } } }, vars)).toEqual(body);
  });

  it("contains the parameters that EXTRA_PARAMETERS names, as they are", () => {
    const vars = { EXTRA_PARAMETERS: "seed, negative_prompt,hires" };
    const extras = { seed: 7.5, negative_prompt: "text", hires: false };
    expect(sent({ prompt: "a", ...extras }, vars)).toEqual({ ...sent({ prompt: "a" }), ...extras });
    expect(sent({ prompt: "a", seed: null }, vars)).toEqual(sent({ prompt: "a" }));
  });

  it("contains the defaults that UPSTREAM_REQUIRES names, if the model has them", () => {
    const vars = { UPSTREAM_REQUIRES: "n,size,quality,style,moderation" };
    expect(sent({ prompt: "a" }, vars)).toEqual({
      ...sent({ prompt: "a" }),
      size: "auto",
      quality: "auto",
      moderation: "auto",
    });
    expect(sent({ prompt: "a", model: "dall-e-3" }, vars)).toMatchObject({
      quality: "standard",
      style: "vivid",
    });
  });

  it("requests base64 from the models that SEND_RESPONSE_FORMAT names", () => {
    const vars = { MODELS: "m,gpt-image-1.5,x", SEND_RESPONSE_FORMAT: "m" };
    expect(sent({ prompt: "a", model: "m" }, vars)).toEqual({
      model: "m",
      prompt: "a",
      n: 1,
      response_format: "b64_json",
    });
    expect(sent({ prompt: "a", model: "x" }, vars)).toEqual({ model: "x", prompt: "a", n: 1 });
  });

  it("requests base64 under every alias of a model that SEND_RESPONSE_FORMAT names", () => {
    const vars = { MODELS: "m", MODEL_ALIASES: "a=m,b=m", SEND_RESPONSE_FORMAT: "a" };
    const [first, ...others] = ["a", "b", "m"].map((model) => sent({ prompt: "a", model }, vars));
    expect(first).toMatchObject({ model: "m", response_format: "b64_json" });
    expect(others).toEqual([first, first]);
  });

  it("depends only on the cache key, whatever the client writes out", async () => {
    const config = testConfig();
    const values = {
      model: fc.constantFrom("gpt-image-1.5", "gpt-image-2.6-flare", "dall-e-3", null),
      size: fc.constantFrom("auto", "1024x1024", null),
      quality: fc.constantFrom("auto", "low", "standard", "hd", null),
      style: fc.constantFrom("vivid", "natural", null),
      background: fc.constantFrom("auto", "opaque", null),
      output_format: fc.constantFrom("png", "gif", null),
      output_compression: fc.constantFrom(100, null),
      moderation: fc.constantFrom("auto", "low", null),
      complexity: fc.constantFrom("low", null),
      frame_count: fc.constantFrom(9, 4, null),
      response_format: fc.constantFrom("url", "b64_json", null),
      n: fc.constantFrom(1, null),
    };
    const bodies = new Map<string, unknown>();
    await fc.assert(
      fc.asyncProperty(fc.record(values, { requiredKeys: [] }), async (body) => {
        const request = tryParse({ prompt: "a", ...body }, config);
        fc.pre(request !== undefined);
        const key = await requestKey(request.spec, config.upstream.baseUrl);
        const sentBody = upstreamBody(request, config.upstream);
        expect(sentBody).toEqual(bodies.get(key) ?? sentBody);
        bodies.set(key, sentBody);
      }),
      { numRuns: 300 },
    );
    expect(bodies.size).toBeGreaterThan(1);
  });

  it("requests base64 from dall-e even if the client requests URLs", () => {
    const body = {
      model: "dall-e-3",
      prompt: "a",
      size: "1792x1024",
      quality: "hd",
      style: "natural",
      n: 1,
    };
    expect(sent({ ...body, response_format: "url" })).toEqual({
      ...body,
      response_format: "b64_json",
    });
  });

  it("contains the alias's target as the model", () => {
    const vars = { MODEL_ALIASES: "gpt-image-1.5=my-deployment" };
    expect(sent({ prompt: "a" }, vars)["model"]).toBe("my-deployment");
  });
});
