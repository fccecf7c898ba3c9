import { describe, expect, it } from "vitest";
import { parseImageRequest } from "../../../src/contract/request.ts";
import { fromStoredRequest, toStoredRequest } from "../../../src/contract/stored-request.ts";
import { testConfig } from "../../support/unit-config.ts";
import { DECEMBER_MS } from "../../support/upstream/shutdowns.ts";

const REPLACING = { RETIRED_MODELS: "replace" };

function parse(body: object) {
  return parseImageRequest({ prompt: "a man walks", ...body }, testConfig(REPLACING), DECEMBER_MS);
}

describe("a stored request", () => {
  it.each([
    {},
    { model: "gpt-image-2", stream: true, partial_images: 2, user: "u", safety_identifier: "s" },
    { model: "gpt-image-2", output_format: "webp", output_compression: 40, background: "opaque" },
    { model: "dall-e-3", style: "natural", quality: "hd", response_format: "b64_json" },
    { model: "dall-e-2", n: 3, size: "256x256" },
    { model: "gpt-image-1.5" },
  ])("is read as the request that was stored: %o", (body) => {
    const config = testConfig();
    const request = parseImageRequest({ prompt: "a man walks", ...body }, config, 0);
    const stored: unknown = JSON.parse(JSON.stringify(toStoredRequest(request)));
    expect(fromStoredRequest(Object(stored))).toEqual(request);
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

  it("does not have the image type that the client prefers to JSON", () => {
    const request = parseImageRequest({ prompt: "a" }, testConfig(), 0, "webp");
    expect(request.delivery.accept).toBe("webp");
    expect(fromStoredRequest(toStoredRequest(request)).delivery.accept).toBeUndefined();
  });
});
