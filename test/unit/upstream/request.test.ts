import { describe, expect, it } from "vitest";
import { parseImageRequest } from "../../../src/contract/request.ts";
import { upstreamBody } from "../../../src/upstream/request.ts";
import { testConfig } from "../../support/unit-config.ts";

function sent(body: object, vars: Record<string, unknown> = {}) {
  return upstreamBody(parseImageRequest(body, testConfig(vars), Date.now()));
}

describe("what the upstream is sent", () => {
  it("is the reference document's four fields for the plainest request", () => {
    expect(sent({ prompt: "a" })).toEqual({
      model: "gpt-image-1.5",
      prompt: "a",
      n: 1,
      size: "auto",
    });
  });

  it("leaves out what is at its default, and what is only delivery", () => {
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

  it("asks for a stream where the client wants one", () => {
    expect(sent({ prompt: "a", stream: true, partial_images: 2 })).toEqual({
      ...sent({ prompt: "a" }),
      stream: true,
      partial_images: 2,
    });
  });

  it("has everything else that was asked for", () => {
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

  it("asks dall-e for bytes, whatever the client wants them as", () => {
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

  it("goes by the alias's other name", () => {
    const vars = { MODEL_ALIASES: "gpt-image-1.5=my-deployment" };
    expect(sent({ prompt: "a" }, vars)["model"]).toBe("my-deployment");
  });
});
