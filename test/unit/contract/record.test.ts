import { describe, expect, it } from "vitest";
import { newRecord, parseRecord, type GeneratedImages } from "../../../src/contract/record.ts";
import { parseImageRequest } from "../../../src/contract/request.ts";
import { imageUrl, responseWithoutData } from "../../../src/contract/response.ts";
import { NO_USAGE } from "../../../src/contract/usage.ts";
import { newIdInObject } from "../../../src/lib/object-id.ts";
import { imagesResponse } from "../../../src/openapi/schemas.ts";
import { testConfig } from "../../support/unit-config.ts";

const GENERATED: GeneratedImages = {
  images: [
    { type: "png", sizeBytes: 9, revisedPrompt: undefined },
    { type: "webp", sizeBytes: 7, revisedPrompt: "A man, walking" },
  ],
  returned: 2,
  usage: { input_tokens: 3, output_tokens: 5, total_tokens: 8 },
  isChatUsage: false,
  svgUsage: undefined,
  resolved: {},
};

/** Micro-dollars. */
const COST = 1234;

const ID = newIdInObject("gen", "0".repeat(64));

function recordOf(body: object, generated: GeneratedImages = GENERATED) {
  const { spec } = parseImageRequest(body, testConfig(), Date.now());
  return newRecord(ID, spec, generated, COST, 1_795_000_000);
}

describe("the record of a generation", () => {
  it("contains the model, the time, the usage and the type and size of each image", () => {
    expect(recordOf({ prompt: "a", n: 2, model: "gpt-image-2" })).toMatchObject({
      version: 1,
      cost: COST,
      created: 1_795_000_000,
      model: "gpt-image-2",
      usage: { input_tokens: 3, output_tokens: 5, total_tokens: 8 },
      images: [
        { type: "png", bytes: 9 },
        { type: "webp", bytes: 7, revised_prompt: "A man, walking" },
      ],
    });
  });

  it("is the same after a round trip through JSON", () => {
    const record = recordOf({ prompt: "a" });
    expect(parseRecord(JSON.parse(JSON.stringify(record)))).toEqual(record);
  });

  it.each([
    ["null", null],
    ["a string", "record"],
    ["a record of another version", { ...recordOf({ prompt: "a" }), version: 2 }],
    ["a record without images", { ...recordOf({ prompt: "a" }), images: [] }],
    [
      "a record with an image of an unknown type",
      { ...recordOf({ prompt: "a" }), images: [{ type: "bmp", bytes: 1 }] },
    ],
  ])("is undefined if the stored value is %s", (_, value) => {
    expect(parseRecord(value)).toBeUndefined();
  });

  it("contains the parameters that the upstream resolved", () => {
    const resolved = { quality: "high", size: "1024x1536", background: "opaque" };
    expect(recordOf({ prompt: "a" }, { ...GENERATED, resolved }).resolved).toEqual({
      ...resolved,
      output_format: "png",
    });
  });

  it("contains the requested parameters if the upstream reports none, except those that are auto", () => {
    expect(recordOf({ prompt: "a", size: "1024x1024", quality: "low" }).resolved).toEqual({
      background: undefined,
      output_format: "png",
      quality: "low",
      size: "1024x1024",
    });
  });

  it("takes the output format from the image's bytes, not from the upstream", () => {
    const resolved = { output_format: "jpeg" };
    expect(recordOf({ prompt: "a" }, { ...GENERATED, resolved }).resolved.output_format).toBe(
      "png",
    );
  });
});

describe("the response body of a record", () => {
  const record = recordOf({ prompt: "a", n: 2 });
  const origin = "https://gateway.example";

  it("matches its schema and reports usage under the names of both references", () => {
    const body = { ...responseWithoutData(record, origin), data: [{ b64_json: "AA==" }] };
    expect(imagesResponse.parse(body).usage).toEqual({
      input_tokens: 3,
      output_tokens: 5,
      total_tokens: 8,
      input_tokens_details: { text_tokens: 0, image_tokens: 0 },
      prompt_tokens: 3,
      completion_tokens: 5,
    });
  });

  it("links each image in Markdown to its file", () => {
    const { choices } = responseWithoutData(record, origin);
    expect(choices.map((choice) => choice.message.content)).toEqual([
      `![Image 1](${origin}/v1/images/${record.id}/0.png)`,
      `![Image 2](${origin}/v1/images/${record.id}/1.webp)`,
    ]);
    expect(imageUrl(record, 1, origin)).toBe(`${origin}/v1/images/${record.id}/1.webp`);
  });

  it("reports the usage of the model that wrote an SVG", () => {
    const svgUsage = {
      model: "gpt-5.6-terra",
      input_tokens: 1200,
      output_tokens: 5400,
      reasoning_tokens: 2000,
      total_tokens: 6600,
    };
    const { svg_usage } = responseWithoutData(
      recordOf({ prompt: "a" }, { ...GENERATED, svgUsage }),
      origin,
    );
    expect(svg_usage).toEqual(svgUsage);
  });

  it("reports zero usage if the upstream reports none", () => {
    const { usage } = responseWithoutData({ ...record, usage: NO_USAGE }, origin);
    expect(usage).toEqual({
      input_tokens: 0,
      output_tokens: 0,
      total_tokens: 0,
      input_tokens_details: { text_tokens: 0, image_tokens: 0 },
      prompt_tokens: 0,
      completion_tokens: 0,
    });
  });
});
