import { describe, expect, it } from "vitest";
import { NO_USAGE, parseRecord } from "../../../src/contract/record.ts";
import { parseImageRequest } from "../../../src/contract/request.ts";
import {
  imagePath,
  imagesResponseSchema,
  responseWithoutData,
} from "../../../src/contract/response.ts";
import { newRecord } from "../../../src/generation/record.ts";
import type { UpstreamGeneration } from "../../../src/upstream/client.ts";
import { testConfig } from "../config-of.ts";

const MADE: UpstreamGeneration = {
  images: [
    { type: "png", bytes: new Uint8Array(9), revisedPrompt: undefined },
    { type: "webp", bytes: new Uint8Array(7), revisedPrompt: "A man, walking" },
  ],
  usage: { input_tokens: 3, output_tokens: 5, total_tokens: 8 },
  resolved: {},
};

function recordOf(body: object, made: UpstreamGeneration = MADE) {
  return newRecord(parseImageRequest(body, testConfig()), made, 1_795_000_000);
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

  it("has an id that is new each time and cannot be guessed", () => {
    const ids = Array.from({ length: 100 }, () => recordOf({ prompt: "a" }).id);
    expect(new Set(ids).size).toBe(100);
    for (const id of ids) expect(id).toMatch(/^gen_[0-9a-f]{32}$/);
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
    const answer = { ...responseWithoutData(record, origin, true), data: [{ b64_json: "AA==" }] };
    expect(imagesResponseSchema.parse(answer).usage).toEqual({
      input_tokens: 3,
      output_tokens: 5,
      total_tokens: 8,
      prompt_tokens: 3,
      completion_tokens: 5,
    });
  });

  it("shows each image by a Markdown link to its file", () => {
    const { choices } = responseWithoutData(record, origin, true);
    expect(choices.map((choice) => choice.message.content)).toEqual([
      `![Image 1](${origin}/v1/images/${record.id}/0.png)`,
      `![Image 2](${origin}/v1/images/${record.id}/1.webp)`,
    ]);
    expect(imagePath(record, 1)).toBe(`/v1/images/${record.id}/1.webp`);
  });

  it("links to nothing where nothing was kept", () => {
    const { choices } = responseWithoutData(record, origin, false);
    for (const choice of choices) expect(choice.message.content).not.toContain("http");
  });

  it("counts zero where the upstream counts nothing", () => {
    const { usage } = responseWithoutData({ ...record, usage: NO_USAGE }, origin, true);
    expect(Object.values(usage)).toEqual([0, 0, 0, 0, 0]);
  });
});
