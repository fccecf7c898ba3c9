import { describe, expect, it } from "vitest";
import { parseImageRequest } from "../../../src/contract/request.ts";
import { upstreamBody } from "../../../src/upstream/request.ts";
import { testConfig } from "../../support/unit-config.ts";

function sent(body: object, vars: Record<string, unknown> = {}) {
  return upstreamBody(parseImageRequest(body, testConfig(vars), Date.now()));
}

describe("the request body for the upstream", () => {
  it("contains only model, prompt, n and size if the client sends only a prompt", () => {
    expect(sent({ prompt: "a" })).toEqual({
      model: "gpt-image-1.5",
      prompt: "a",
      n: 1,
      size: "auto",
    });
  });

  it("omits default values and delivery options", () => {
    const defaults = {
      quality: "auto",
      background: "auto",
      output_format: "png",
      output_compression: 100,
      moderation: "auto",
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
