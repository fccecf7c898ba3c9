import { describe, expect, it } from "vitest";
import { NO_USAGE, parseRecord } from "../../../src/contract/record.ts";
import { parseImageRequest } from "../../../src/contract/request.ts";
import {
  imageUrl,
  imagesResponseSchema,
  responseWithoutData,
} from "../../../src/contract/response.ts";
import { newIdInObject } from "../../../src/lib/object-id.ts";
import { newRecord } from "../../../src/generation/record.ts";
import type { UpstreamGeneration } from "../../../src/upstream/client.ts";
import { testConfig } from "../../support/unit-config.ts";

const MADE: UpstreamGeneration = {
  images: [
    { slot: 0, type: "png", sizeBytes: 9, revisedPrompt: undefined },
    { slot: 1, type: "webp", sizeBytes: 7, revisedPrompt: "A man, walking" },
  ],
  usage: { input_tokens: 3, output_tokens: 5, total_tokens: 8 },
  resolved: {},
};

const ID = newIdInObject("gen", "0".repeat(64));

function recordOf(body: object, made: UpstreamGeneration = MADE) {
  return newRecord(ID, parseImageRequest(body, testConfig(), Date.now()), made, 1_795_000_000);
}

describe("a record", () => {
  it("says what was made, by which model, when, and how large each image is", () => {
    expect(recordOf({ prompt: "a", n: 2, model: "gpt-image-2" })).toMatchObject({
      version: 1,
      created: 1_795_000_000,
      model: "gpt-image-2",
      usage: { input_tokens: 3, output_tokens: 5, total_tokens: 8 },
      images: [
        { type: "png", bytes: 9 },
        { type: "webp", bytes: 7, revised_prompt: "A man, walking" },
      ],
    });
  });

  it("survives JSON", () => {
    const record = recordOf({ prompt: "a" });
    expect(parseRecord(JSON.parse(JSON.stringify(record)))).toEqual(record);
  });

  it.each([
    ["nothing", null],
    ["text", "record"],
    ["another version", { ...recordOf({ prompt: "a" }), version: 2 }],
    ["no images", { ...recordOf({ prompt: "a" }), images: [] }],
    [
      "an image of an unknown type",
      { ...recordOf({ prompt: "a" }), images: [{ type: "svg", bytes: 1 }] },
    ],
  ])("is none in a stored value that is %s", (_, value) => {
    expect(parseRecord(value)).toBeUndefined();
  });

  it("has the parameters as the upstream resolved them", () => {
    const resolved = { quality: "high", size: "1024x1536", background: "opaque" };
    expect(recordOf({ prompt: "a" }, { ...MADE, resolved }).resolved).toEqual({
      ...resolved,
      output_format: "png",
    });
  });

  it("has them as asked where the upstream says nothing, and not at all where that was auto", () => {
    expect(recordOf({ prompt: "a", size: "1024x1024", quality: "low" }).resolved).toEqual({
      background: undefined,
      output_format: "png",
      quality: "low",
      size: "1024x1024",
    });
  });

  it("believes the bytes about the format, not the upstream", () => {
    const resolved = { output_format: "jpeg" };
    expect(recordOf({ prompt: "a" }, { ...MADE, resolved }).resolved.output_format).toBe("png");
  });
});

describe("the answer made from a record", () => {
  const record = recordOf({ prompt: "a", n: 2 });
  const origin = "https://gateway.example";

  it("is valid under its schema, with both references' names of the usage", () => {
    const answer = { ...responseWithoutData(record, origin), data: [{ b64_json: "AA==" }] };
    expect(imagesResponseSchema().parse(answer).usage).toEqual({
      input_tokens: 3,
      output_tokens: 5,
      total_tokens: 8,
      prompt_tokens: 3,
      completion_tokens: 5,
    });
  });

  it("shows each image by a Markdown link to its file", () => {
    const { choices } = responseWithoutData(record, origin);
    expect(choices.map((choice) => choice.message.content)).toEqual([
      `![Image 1](${origin}/v1/images/${record.id}/0.png)`,
      `![Image 2](${origin}/v1/images/${record.id}/1.webp)`,
    ]);
    expect(imageUrl(record, 1, origin)).toBe(`${origin}/v1/images/${record.id}/1.webp`);
  });

  it("counts zero where the upstream counts nothing", () => {
    const { usage } = responseWithoutData({ ...record, usage: NO_USAGE }, origin);
    expect(Object.values(usage)).toEqual([0, 0, 0, 0, 0]);
  });
});
