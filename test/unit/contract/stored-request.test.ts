import { describe, expect, it } from "vitest";
import { parseImageRequest, type ImageRequest } from "../../../src/contract/request.ts";
import {
  fromStoredRequest,
  toStoredRequest,
  type StoredRequest,
} from "../../../src/contract/stored-request.ts";
import { testConfig } from "../../support/unit-config.ts";
import { DECEMBER_MS } from "../../support/upstream/shutdowns.ts";

/** Enables the parameters that version 0.1.0 does not have. */
const FURTHER = {
  EXTRA_PARAMETERS: "seed,hires",
  SVG_MODELS: JSON.stringify({ author: { text_in: 2, text_out: 12, max_tokens: 30_000 } }),
};
const NEWEST = "gpt-image-2.6-flare";
const REPLACING = { RETIRED_MODELS: "replace" };

function parse(body: object) {
  return parseImageRequest({ prompt: "a man walks", ...body }, testConfig(REPLACING), DECEMBER_MS);
}

/** Returns the stored form of a request as storage returns it. */
function throughStorage(request: ImageRequest): StoredRequest {
  return JSON.parse(JSON.stringify(toStoredRequest(request))) as StoredRequest;
}

describe("a stored request", () => {
  it.each([
    {},
    { model: "gpt-image-2", stream: true, partial_images: 2, user: "u", safety_identifier: "s" },
    { model: "gpt-image-2", output_format: "webp", output_compression: 40, background: "opaque" },
    { model: "dall-e-3", style: "natural", quality: "hd", response_format: "b64_json" },
    { model: "dall-e-2", n: 3, size: "256x256" },
    { model: "gpt-image-1.5" },
    { variant: 7, seed: 1.5, hires: false },
    { model: NEWEST, complexity: "low", moderation: "low" },
    { model: NEWEST, output_format: "gif", frame_count: 4, frame_duration_ms: 120 },
    { model: NEWEST, output_format: "svg", svg: { model: "author", reasoning: { effort: "max" } } },
    { model: NEWEST, output_format: "svg", svg: { model: "author" } },
  ])("is read as the request that was stored: %o", (body) => {
    const request = parseImageRequest({ prompt: "a man walks", ...body }, testConfig(FURTHER), 0);
    expect(fromStoredRequest(throughStorage(request))).toEqual(request);
  });

  it("has only the fields of version 0.1.0 if the request has only those", () => {
    const request = parse({ model: "gpt-image-2", user: "u", safety_identifier: "s" });
    const { further, ...rest } = throughStorage(request);
    expect(further).toEqual({});
    expect(rest).toEqual({
      model: "gpt-image-2",
      upstreamModel: "gpt-image-2",
      rules: { qualities: ["auto"] },
      prompt: "a man walks",
      n: 1,
      size: "auto",
      quality: "auto",
      options: {
        background: "auto",
        output_format: "png",
        output_compression: 100,
        moderation: "auto",
        stream: false,
        partial_images: 0,
      },
      response_format: "b64_json",
      user: "u",
      safety_identifier: "s",
    });
  });

  it("has the further parameters apart from those that version 0.1.0 reads", () => {
    const body = { model: NEWEST, output_format: "gif" };
    const { further: _, ...plain } = throughStorage(parse(body));
    const { further: __, ...rest } = throughStorage(parse({ ...body, frame_count: 4, variant: 7 }));
    expect(rest).toEqual(plain);
  });

  it("is read without further parameters if version 0.1.0 stored it", () => {
    const request = parse({ model: "gpt-image-2", size: "1024x1024" });
    const { further: _, ...stored } = throughStorage(request);
    expect(fromStoredRequest(stored)).toEqual(request);
  });

  it("has the model before and after a retirement", () => {
    const request = parse({ model: "gpt-image-1.5" });
    expect(request.spec.retiredModel).toBe("gpt-image-1.5");
    expect(fromStoredRequest(toStoredRequest(request))).toEqual(request);
  });

  it.each([
    [{ model: "gpt-image-1.5" }, { qualities: ["auto"] }],
    [{ model: "gpt-image-2" }, { qualities: ["auto"] }],
  ])("has the default quality of %o, which version 0.1.0 does not send", (body, rules) => {
    expect(toStoredRequest(parse(body)).rules).toEqual(rules);
  });

  it("has the default style of dall-e-3, which version 0.1.0 does not send", () => {
    const request = parseImageRequest({ prompt: "a", model: "dall-e-3" }, testConfig(), 0);
    expect(toStoredRequest(request).rules).toEqual({ qualities: ["standard"], styles: ["vivid"] });
  });

  it("does not say that the client prefers the image itself to JSON", () => {
    const request = parseImageRequest({ prompt: "a" }, testConfig(), 0, ["webp"]);
    expect(request.delivery.asImage).toBe(true);
    expect(fromStoredRequest(toStoredRequest(request)).delivery.asImage).toBe(false);
  });
});
