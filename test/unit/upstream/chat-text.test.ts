import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { failureWithoutImage, mayHoldImage } from "../../../src/upstream/chat-text.ts";
import { parseResponse } from "../../../src/upstream/response-formats.ts";

const DECLINED = "I'm sorry, but I can't create that and/or similar images.";

/** Returns a chat completion of OpenAI, with other fields of its choice, its message or the response. */
function completion({
  message,
  choice,
  response,
}: { message?: object; choice?: object; response?: object } = {}) {
  return {
    id: "chatcmpl-CkN0pE2YQ9mGZ3r1a7f8TtVwXyZ12",
    object: "chat.completion",
    created: 1_790_000_000,
    model: "gpt-5.6",
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: DECLINED,
          refusal: null,
          annotations: [],
          tool_calls: null,
          ...message,
        },
        logprobs: null,
        finish_reason: "stop",
        ...choice,
      },
    ],
    usage: { prompt_tokens: 9, completion_tokens: 12, total_tokens: 21 },
    service_tier: "default",
    system_fingerprint: "fp_44709d6fcb",
    ...response,
  };
}

const NOTHING_GENERATED = {
  code: "upstream_invalid_response",
  reason: "it is text without an image",
  mayHaveCharged: false,
};
const UNCERTAIN = { code: "upstream_invalid_response", reason: "it contains no image" };
const BLOCKED = { code: "moderation_blocked", details: undefined };

describe("a chat completion in words", () => {
  it.each([
    ["a sentence", {}],
    ["one word", { message: { content: "No" } }],
    [
      "Chinese",
      { message: { content: "抱歉,我无法生成这样的图片。请换一个描述,谢谢您的理解与配合。" } },
    ],
    [
      "a list in Markdown",
      { message: { content: "I can't:\n\n- **one** (a)\n- [two]\n\n1/2 or 3:4" } },
    ],
    ["a UUID", { message: { content: `Declined: request ${crypto.randomUUID()}.` } }],
    ["a long word", { message: { content: "Das ist Donaudampfschifffahrtsgesellschaft." } }],
    ["parts of text", { message: { content: [{ type: "text", text: DECLINED }] } }],
    ["reasoning", { message: { reasoning_content: "See https://example.com/policy" } }],
    ["null and empty fields", { message: { audio: null, provider_specific_fields: { a: null } } }],
    ["no finish reason", { choice: { finish_reason: undefined } }],
    ["the finish reason `end_turn`", { choice: { finish_reason: "end_turn" } }],
    [
      "Azure's filter results",
      { choice: { content_filter_results: { hate: { filtered: false } } } },
    ],
    ["only a choice", { response: { id: undefined, usage: undefined, model: undefined } }],
    ["an empty list of images", { response: { data: [] } }],
    [
      "no image tokens",
      {
        response: {
          usage: { completion_tokens_details: { image_tokens: 0, reasoning_tokens: 5 } },
        },
      },
    ],
  ])("was certainly not charged for an image if it has %s", (_, fields) => {
    const json = completion(fields);
    expect(parseResponse(json)).toBeUndefined();
    expect(failureWithoutImage(json)).toEqual(NOTHING_GENERATED);
  });

  it.each([
    ["no text", { message: { content: null } }],
    ["an empty text", { message: { content: "  " } }],
    ["a cut text", { choice: { finish_reason: "length" } }],
    [
      "a tool call",
      { choice: { finish_reason: "tool_calls" }, message: { tool_calls: [{ id: "x" }] } },
    ],
    ["another finish reason", { choice: { finish_reason: "MALFORMED" } }],
    ["images beside the text", { message: { images: [{ image_url: { url: "file-1" } }] } }],
    ["a file beside the text", { message: { attachment: "file-1" } }],
    ["a field beside the message", { choice: { image: "x" } }],
    ["a field beside the choices", { response: { output: [{ id: "file-1" }] } }],
    ["an item without an image", { response: { data: [{ revised_prompt: "A cat" }] } }],
    ["a part that is an image", { message: { content: [{ type: "image", file_id: "file-1" }] } }],
    [
      "a part with another field",
      { message: { content: [{ type: "text", text: "a", image: "x" }] } },
    ],
    ["image tokens", { response: { usage: { completion_tokens_details: { image_tokens: 272 } } } }],
    [
      "image tokens under the API's name",
      { response: { usage: { output_tokens_details: { image_tokens: 1 } } } },
    ],
    ["no choice", { response: { choices: [] } }],
    ["a deep field", { message: { x: [[[[[[[[]]]]]]]] } }],
  ])("may have been charged if it has %s", (_, fields) => {
    const json = completion(fields);
    expect(parseResponse(json)).toBeUndefined();
    expect(failureWithoutImage(json)).toEqual(UNCERTAIN);
  });

  it.each([null, "text", 5, [], {}, { data: [] }, { error: { message: "no" } }])(
    "is not a response such as %j, which may have been charged",
    (json) => {
      expect(failureWithoutImage(json)).toEqual(UNCERTAIN);
    },
  );
});

describe("a text that may hold an image", () => {
  it.each([
    ["a Markdown image", "![x](y)"],
    ["a broken Markdown image", "Here it is: ![x"],
    ["HTML", 'Here: <img src="x">'],
    ["a link in HTML", "Here: <a href=x>"],
    ["SVG", "<svg xmlns='x'/>"],
    ["a URL", "See http://x"],
    ["a URL in capitals", "See HTTPS://X"],
    ["a URL of another scheme", "sandbox:/mnt/data/1"],
    ["a host with a path", "It is at cdn.example.com/a1"],
    ["a host", "It is at www.example.com"],
    ["a path", "It is (/v1/images/x/content)"],
    ["a relative path", "It is ../images/x"],
    ["a file", "I saved it as cat.webp."],
    ["a data: URL", "It is data:image/png,abc"],
    ["a broken data: URL", "It is image/png;base64, iVBO"],
    ["short base64", "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"],
    ["base64 after words", `Here: ${"iVBORw0KGgo".repeat(10)}`],
    ["base64 in lines", `Here:\n${"iVBORw0KGgo".repeat(6).slice(0, 64)}\n`],
    ["URL-safe base64", "iVBORw0K_goAAA-ANSUhEUgAA_EAAA-BCAYA_AAfFcSJ"],
    ["the token of extracted base64", `${crypto.randomUUID()}/0`],
    ["too much text to search", "no ".repeat(20_000)],
  ])("is one with %s", (_, text) => {
    expect(mayHoldImage(text)).toBe(true);
    const json = completion({ message: { content: text } });
    // The reader of images tries it, and fails as after any other broken image.
    expect(parseResponse(json)?.images).not.toHaveLength(0);
    expect(failureWithoutImage(json)).toEqual(UNCERTAIN);
  });

  it("is one that contains base64 of 28 bytes or more, or a URL, between any words", () => {
    const around = fc.string({
      unit: fc.constantFrom("a", "b", " ", ".", ",", "(", "\n"),
      maxLength: 40,
    });
    const base64 = fc.uint8Array({ minLength: 28, maxLength: 60 }).map((bytes) => bytes.toBase64());
    const scheme = fc.constantFrom("https://", "http://", "sandbox:/", "//", "data:");
    const url = fc.tuple(scheme, fc.nat()).map(([start, end]) => `${start}${end}`);
    const source = fc.oneof(base64, url);
    fc.assert(
      fc.property(around, source, around, (before, image, after) => {
        expect(mayHoldImage(before + image + after)).toBe(true);
      }),
    );
  });

  it.each(["a", "a.", "![", "<", "a ", "data:", "/", "aa.", "=", "a".repeat(36) + " "])(
    "is searched in linear time: many times %j",
    (piece) => {
      const startMs = performance.now();
      mayHoldImage(piece.repeat(32_000 / piece.length));
      expect(performance.now() - startMs).toBeLessThan(500);
    },
  );
});

describe("a chat completion that declares a block", () => {
  it.each([
    ["a refusal", { message: { content: null, refusal: "I can't." } }],
    ["a refusal and words", { message: { refusal: "I can't." } }],
    [
      "a refusal and a link to a policy",
      { message: { refusal: "No", content: "See https://x.example/policy." } },
    ],
    ["the reason `content_filter`", { choice: { finish_reason: "content_filter" } }],
    [
      "the reason `content_filter` and no message",
      { choice: { finish_reason: "content_filter", message: null } },
    ],
    [
      "the reason `content_filter` and no text",
      { choice: { finish_reason: "content_filter" }, message: { content: "" } },
    ],
  ])("is a moderation block if it has %s", (_, fields) => {
    const json = completion(fields);
    expect(parseResponse(json)).toBeUndefined();
    expect(failureWithoutImage(json)).toEqual(BLOCKED);
  });

  it.each([
    ["a Markdown image", "![x](https://x.example/a.png)", "https://x.example/a.png"],
    ["a data: URL", "data:image/png;base64,AAAA", "data:image/png;base64,AAAA"],
    ["the token of extracted base64", "a".repeat(38), "a".repeat(38)],
  ])("still has its image: %s", (_, content, source) => {
    const json = completion({ choice: { finish_reason: "content_filter" }, message: { content } });
    expect(parseResponse(json)?.images).toMatchObject([{ source }]);
  });

  it("still has the image of another choice", () => {
    const [blocked] = completion({ message: { content: null, refusal: "No" } }).choices;
    const [good] = completion({ message: { content: "![x](https://x.example/a)" } }).choices;
    const [words] = completion().choices;
    expect(parseResponse({ choices: [blocked, words, good] })?.images).toMatchObject([
      { source: "https://x.example/a" },
    ]);
  });

  it.each(["", "  ", null, 5])("does not do so with the refusal %j", (refusal) => {
    expect(failureWithoutImage(completion({ message: { refusal } }))).not.toEqual(BLOCKED);
  });
});
