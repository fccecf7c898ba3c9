import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseResponse } from "../../../src/upstream/response-formats.ts";

function chat(...contents: unknown[]) {
  return { choices: contents.map((content) => ({ message: { role: "assistant", content } })) };
}

function texts(json: unknown): string[] | undefined {
  return parseResponse(json)?.images.map((image) => image.source);
}

const URL_A = "https://cdn.example.com/a.png?sig=1&x=(2)".replace("(2)", "2");
const URL_B = "https://cdn.example.com/b.png";

describe("a response of the Images API", () => {
  it("is parsed into base64, usage and the resolved parameters", () => {
    const usage = {
      input_tokens: 3,
      output_tokens: 5,
      total_tokens: 8,
      input_tokens_details: { text_tokens: 3, image_tokens: 0 },
    };
    const resolved = { background: "opaque", output_format: "png", quality: "high", size: "1x1" };
    expect(parseResponse({ created: 1, data: [{ b64_json: "AAAA" }], usage, ...resolved })).toEqual(
      {
        images: [{ source: "AAAA", revisedPrompt: undefined }],
        usage: { ...usage, output_tokens_details: undefined },
        isChatUsage: false,
        svgUsage: undefined,
        resolved,
      },
    );
  });

  it.each([
    [
      "is cut at 32,000 code units, between code points",
      `a${"🦊".repeat(16_000)}`,
      "🦊".repeat(15_999),
    ],
    ["loses control characters", "\u0000".repeat(40_000), ""],
    ["loses half code points", "\ud83e", "\ufffd"],
  ])("has a revised prompt that %s", (_, revised_prompt, expected) => {
    const { images } = parseResponse({ data: [{ url: URL_A, revised_prompt }] }) ?? {};
    expect(images?.[0]?.revisedPrompt?.replace(/^a/, "")).toBe(expected);
  });

  it("is parsed into URLs and revised prompts", () => {
    expect(parseResponse({ data: [{ url: URL_A, revised_prompt: "better" }] })?.images).toEqual([
      { source: URL_A, revisedPrompt: "better" },
    ]);
  });

  it("may contain null for an absent field", () => {
    const data = [{ b64_json: null, url: URL_A, revised_prompt: null }];
    expect(texts({ data, usage: null, size: null })).toEqual([URL_A]);
  });

  it("takes precedence over a chat completion in the same body", () => {
    expect(texts({ data: [{ b64_json: "AAAA" }], ...chat(URL_A) })).toEqual(["AAAA"]);
  });
});

describe("a chat completion", () => {
  it.each([
    ["a Markdown image", `Here:\n\n![a (b) c](${URL_A})`, [URL_A]],
    ["a Markdown image with a title", `![x](<${URL_A}> "title")`, [URL_A]],
    [
      "several Markdown images, but no plain link",
      `![1](${URL_A}) ![2](${URL_B}) [get](https://x.example)`,
      [URL_A, URL_B],
    ],
    ["a bare URL", URL_A, [URL_A]],
    ["a bare URL in a sentence", `It is at ${URL_B} now.`, [URL_B]],
    ["the same URL twice", `${URL_B} ${URL_B}`, [URL_B]],
    ["a data: URL", "data:image/png;base64,AAAA", ["data:image/png;base64,AAAA"]],
    [
      "a data: URL in Markdown",
      "![x](data:image/png;base64,AA/+A==)",
      ["data:image/png;base64,AA/+A=="],
    ],
  ])("is parsed into its images from %s", (_, content, expected) => {
    expect(texts(chat(content))).toEqual(expected);
  });

  it("is parsed into one image for each choice", () => {
    expect(texts(chat(URL_A, URL_B))).toEqual([URL_A, URL_B]);
  });

  it("is parsed into usage from its own field names", () => {
    const usage = { prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 };
    expect(parseResponse({ ...chat(URL_A), usage })?.usage).toMatchObject({
      input_tokens: 3,
      output_tokens: 5,
      total_tokens: 8,
    });
  });
});

describe("the usage of a response", () => {
  it.each([
    [undefined, 0],
    ["lots", 0],
    [{ input_tokens: -5, output_tokens: "x" }, 0],
    [{ input_tokens: 2, output_tokens: 3 }, 5],
    [{ total_tokens: 9 }, 9],
    // Servers report both names, one of them 0.
    [{ prompt_tokens: 50, completion_tokens: 272, input_tokens: 0, output_tokens: 0 }, 322],
    [{ prompt_tokens: 0, completion_tokens: 0, input_tokens: 50, output_tokens: 272 }, 322],
    [{ input_tokens: 1.4, output_tokens: 2.6 }, 4],
    // The reported total contains a count that is not valid.
    [{ input_tokens: 13, output_tokens: -5, total_tokens: 8 }, 13],
    [{ input_tokens: 13, output_tokens: "x", total_tokens: 100 }, 13],
    [{ input_tokens: 2, output_tokens: 3, total_tokens: 4 }, 5],
    // Not plausible as a number of tokens.
    [{ input_tokens: 2, output_tokens: 10_000_001 }, 2],
    [{ input_tokens: 2, output_tokens: 2 ** 53 - 1 }, 2],
    [{ input_tokens: 2, output_tokens: Number.POSITIVE_INFINITY }, 2],
    [{ output_tokens: 10_000_000 }, 10_000_000],
  ])("is read from %j as %i tokens in total", (usage, total) => {
    expect(parseResponse({ data: [{ b64_json: "AAAA" }], usage })?.usage.total_tokens).toBe(total);
  });
});

describe("the total of a usage", () => {
  it("is the sum of its parts, whatever an upstream reports as the output and the total", () => {
    const input = fc.integer({ min: 1, max: 1000 });
    const other = fc.oneof(fc.nat(), fc.double(), fc.constantFrom(undefined, null, -5, "x"));
    fc.assert(
      fc.property(input, other, other, (input_tokens, output_tokens, total_tokens) => {
        const usage = { input_tokens, output_tokens, total_tokens };
        const svg_usage = { model: "m", ...usage };
        const parsed = parseResponse({ data: [{ b64_json: "AAAA" }], usage, svg_usage });
        const sum = input_tokens + Number(parsed?.usage.output_tokens);
        expect(parsed?.usage.total_tokens).toBe(sum);
        expect(parsed?.svgUsage?.total_tokens).toBe(sum);
      }),
    );
  });
});

describe("the breakdown of a usage", () => {
  const detailsOf = (input_tokens_details: unknown) =>
    parseResponse({ data: [{ b64_json: "AAAA" }], usage: { input_tokens_details } })?.usage
      .input_tokens_details;

  it("contains only numbers of tokens under short names", () => {
    expect(
      detailsOf({ text_tokens: 3.4, image_tokens: -1, audio: "x", ["n".repeat(41)]: 1, "a b": 1 }),
    ).toEqual({ text_tokens: 3 });
  });

  it("is cut to a few names", () => {
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`t${index}`, index]));
    expect(Object.keys(detailsOf(many) ?? {})).toHaveLength(8);
  });

  it.each(["x", 3, null])("is absent if it is %j", (details) => {
    expect(detailsOf(details)).toBeUndefined();
  });
});

describe("the usage of the model that wrote an SVG", () => {
  const svgUsageOf = (svg_usage: unknown) =>
    parseResponse({ data: [{ b64_json: "AAAA" }], svg_usage })?.svgUsage;

  it("is read like the usage of the image", () => {
    const usage = { model: "m", input_tokens: 1.2, output_tokens: 5, reasoning_tokens: -1 };
    expect(svgUsageOf(usage)).toEqual({
      model: "m",
      input_tokens: 1,
      output_tokens: 5,
      reasoning_tokens: 0,
      total_tokens: 6,
    });
  });

  it.each([undefined, null, "x", {}, { model: "m".repeat(129) }])(
    "is absent if it is %j",
    (usage) => {
      expect(svgUsageOf(usage)).toBeUndefined();
    },
  );
});

describe("an incomplete response", () => {
  it.each([
    [null],
    ["text"],
    [[]],
    [{}],
    [{ data: [] }],
    [{ data: [{}] }],
    [{ data: [{ b64_json: "" }] }],
    [{ data: "AAAA" }],
    [{ choices: [] }],
    [chat(null)],
    [chat([{ type: "text", text: "no" }])],
    [{ error: { message: "with status 200" } }],
  ])("is not recognised without an image: %j", (json) => {
    expect(parseResponse(json)).toBeUndefined();
  });

  it("is parsed without resolved parameters that are invalid", () => {
    const response = parseResponse({
      data: [{ b64_json: "AAAA" }],
      size: "x".repeat(100),
      quality: 5,
    });
    expect(response?.resolved).toEqual({});
  });
});
