import { describe, expect, it } from "vitest";
import { readEventStream, type PartialImageEvent } from "../../../src/upstream/event-stream.ts";
import { ImageCollector } from "../../../src/upstream/images.ts";
import { serverSentEvent as event } from "../../support/upstream/server-sent-event.ts";
import { rejectionOf } from "../../support/failures.ts";

const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB";
const SECRET = "a prompt that must stay private";

async function* bytesOf(text: string, slice = 7): AsyncGenerator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  for (let start = 0; start < bytes.length; start += slice) {
    yield bytes.subarray(start, start + slice);
  }
}

const partial = (index: number) =>
  event("image_generation.partial_image", {
    b64_json: PNG,
    partial_image_index: index,
    size: "1x1",
  });
const completed = event("image_generation.completed", {
  b64_json: PNG,
  quality: "low",
  usage: { input_tokens: 1, output_tokens: 2, total_tokens: 3 },
});

async function read(text: string) {
  const partials: PartialImageEvent[] = [];
  const slots: number[] = [];
  const result = await readEventStream(bytesOf(text), {
    collector: new ImageCollector({
      sink: { write: (slot) => slots.push(slot), delete: () => undefined },
      acceptsSvg: false,
      maxImages: 4,
    }),
    onPartialImage: (each) => partials.push(each),
    sent: { secrets: [SECRET], identifiers: [] },
  });
  return { result, partials, slots };
}

describe("an event stream of the upstream", () => {
  it("returns each partial image at once, and then the completed image", async () => {
    const { result, partials, slots } = await read(partial(0) + partial(1) + completed);
    expect(partials.map(({ index, image }) => [index, image.slot])).toEqual([
      [0, 0],
      [1, 1],
    ]);
    expect(partials[0]?.resolved).toEqual({ size: "1x1", output_format: "png" });
    expect(result).toMatchObject({
      image: { slot: 2, type: "png", sizeBytes: 24 },
      usage: { total_tokens: 3 },
      resolved: { quality: "low" },
    });
    expect(slots).toEqual([0, 1, 2]);
  });

  it("labels a partial image with the type of its bytes, whatever the event says", async () => {
    const b64_json = "R0lGODlhAQABAAAAACw=";
    const mislabelled = event("image_generation.partial_image", { b64_json, output_format: "png" });
    const { partials } = await read(mislabelled + completed);
    expect(partials[0]?.resolved).toEqual({ output_format: "gif" });
  });

  it.each([
    ["is not an image", { b64_json: "PHN2Zz4=" }],
    ["is not base64", { b64_json: "*" }],
    ["has no image", {}],
  ])("returns the completed image after a partial image that %s", async (_, fields) => {
    const bad = event("image_generation.partial_image", fields);
    const { result, partials } = await read(bad + partial(1) + completed);
    expect(partials.map(({ index }) => index)).toEqual([1]);
    expect(result.image.type).toBe("png");
  });

  it("may have base64 in lines", async () => {
    const bytes = new Uint8Array(200_000);
    bytes.set(Uint8Array.fromBase64(PNG));
    const b64_json = bytes.toBase64().replaceAll(/.{76}/g, "$&\r\n");
    const { result } = await read(event("image_generation.completed", { b64_json }));
    expect(result.image.sizeBytes).toBe(200_000);
  });

  it("may contain comments, unknown events, CRLF and a [DONE]", async () => {
    const text = `: hello\n\n${event("image_generation.started", {})}data: [DONE]\n\n${completed}`;
    const { result } = await read(text.replaceAll("\n", "\r\n"));
    expect(result.image.type).toBe("png");
  });

  it.each([
    ["ends without a completed image", partial(0), "ended before"],
    ["is empty", "", "ended before"],
    [
      "has an event that is not JSON",
      "event: image_generation.completed\ndata: {\n\n",
      "not valid JSON",
    ],
    [
      "has a completed event without an image",
      event("image_generation.completed", {}),
      "contains no image",
    ],
    ["has bad base64", event("image_generation.completed", { b64_json: "*" }), "base64"],
    [
      "has data that is not an image",
      event("image_generation.completed", { b64_json: "PHN2Zz4=" }),
      "PNG",
    ],
  ])("fails with `upstream_invalid_response` if it %s", async (_, text, reason) => {
    const failure = await rejectionOf(read(text));
    expect(failure).toMatchObject({ code: "upstream_invalid_response" });
    expect(JSON.stringify(failure)).toContain(reason);
  });

  it.each([
    ["nested", { error: { code: "server_error", message: SECRET } }],
    ["flat", { code: "server_error", message: SECRET, param: null }],
  ])("fails with `upstream_failed` on a %s error event", async (_, fields) => {
    expect(await rejectionOf(read(partial(0) + event("error", fields)))).toEqual({
      code: "upstream_failed",
      status: undefined,
      mayHaveCharged: true,
    });
  });

  it("fails with `moderation_blocked` on an error event with the code content_filter", async () => {
    const failure = await rejectionOf(read(event("error", { error: { code: "content_filter" } })));
    expect(failure).toEqual({ code: "moderation_blocked", details: undefined });
  });

  describe("of a chat model", () => {
    const chunk = (delta: object, finish: string | null = null) =>
      `data: ${JSON.stringify({
        object: "chat.completion.chunk",
        choices: [{ index: 0, delta, finish_reason: finish }],
      })}\n\n`;
    const done = "data: [DONE]\n\n";
    const words = chunk({ role: "assistant", content: "I can" }) + chunk({ content: "not." });

    it("in words fails without a charge", async () => {
      expect(await rejectionOf(read(words + chunk({}, "stop") + done))).toEqual({
        code: "upstream_invalid_response",
        reason: "it is text without an image",
        mayHaveCharged: false,
      });
    });

    it.each([
      ["no finish reason", words],
      [
        "another event before it",
        event("image_generation.started", {}) + words + chunk({}, "stop"),
      ],
      ["a partial image before it", partial(0) + words + chunk({}, "stop")],
      ["a URL in two chunks", chunk({ content: "https:/" }) + chunk({ content: "/x" }, "stop")],
      ["the reason `length`", words + chunk({}, "length")],
      ["a long text", chunk({ content: "no " }) + chunk({ content: "no ".repeat(20_000) }, "stop")],
      ["no text", chunk({ role: "assistant", content: "" }) + chunk({}, "stop")],
    ])("may have been charged if it has %s", async (_, text) => {
      expect(await rejectionOf(read(text + done))).toEqual({
        code: "upstream_invalid_response",
        reason: "it ended before the image was complete",
      });
    });

    it.each([
      [
        "a refusal field",
        chunk({ refusal: "I " }) + chunk({ refusal: "cannot." }) + chunk({}, "stop"),
      ],
      ["the reason `content_filter`", words + chunk({}, "content_filter")],
    ])("fails with `moderation_blocked` if it has %s", async (_, text) => {
      expect(await rejectionOf(read(text + done))).toEqual({ code: "moderation_blocked" });
    });

    it("may send chunks before the completed image", async () => {
      const { result } = await read(words + completed);
      expect(result.image.type).toBe("png");
    });
  });

  it.each([
    [
      "nested",
      { error: { code: "moderation_blocked", moderation_details: { categories: ["x"] } } },
    ],
    ["flat", { code: "moderation_blocked", moderation_details: { categories: ["x"] } }],
  ])("fails with `moderation_blocked` on a %s moderation event", async (_, fields) => {
    expect(await rejectionOf(read(event("error", fields)))).toEqual({
      code: "moderation_blocked",
      details: { categories: ["x"] },
    });
  });
});
