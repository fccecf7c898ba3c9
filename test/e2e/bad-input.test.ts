import { describe, expect, it } from "vitest";
import { read, stage, type ErrorAnswer } from "../support/stage.ts";
import { newPrompt } from "../support/bodies.ts";

const theStage = stage();
const LIMIT_BYTES = 64 * 1024;

/** Sends a body as it is. */
function send(body: string | Uint8Array | ReadableStream | null, contentType?: string) {
  return fetch(`${theStage.gateway.url}/v1/images/generations`, {
    method: "POST",
    headers: contentType === undefined ? {} : { "content-type": contentType },
    body,
    ...(body instanceof ReadableStream ? { duplex: "half" } : {}),
  });
}

async function errorOf(response: Response) {
  expect(response.headers.get("content-type")).toBe("application/json");
  expect(response.headers.get("access-control-allow-origin")).toBe("*");
  expect(response.headers.get("x-request-id")).toMatch(/^req_/);
  return { status: response.status, ...(await read<ErrorAnswer>(response)).error };
}

describe("a body that is not JSON", () => {
  it.each([
    ["empty", ""],
    ["cut", '{"prompt":"a"'],
    ["a form", "prompt=a"],
    ["two values", '{"prompt":"a"}{"prompt":"b"}'],
    ["a million brackets", "[".repeat(60_000)],
    ["not UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)],
    ["UTF-16", new Uint8Array(Buffer.from('{"prompt":"a"}', "utf16le"))],
  ])("%s", async (_, body) => {
    expect(await errorOf(await send(body, "application/json"))).toMatchObject({
      status: 400,
      type: "invalid_request_error",
      param: null,
      code: "invalid_json",
    });
  });

  it.each([["[]"], ["null"], ["1"], ['"prompt"']])("or no object: %s", async (body) => {
    expect(await errorOf(await send(body, "application/json"))).toMatchObject({
      status: 400,
      code: "invalid_json",
    });
  });
});

describe("a content type that is not JSON's", () => {
  it.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonp",
    "text/json",
    undefined,
  ])("%s", async (contentType) => {
    const body = new TextEncoder().encode(JSON.stringify({ prompt: "a" }));
    expect(await errorOf(await send(body, contentType))).toMatchObject({
      status: 415,
      type: "invalid_request_error",
      param: null,
      code: "unsupported_media_type",
    });
  });

  it.each([
    "application/json; charset=utf-8",
    "Application/JSON",
    "application/json;charset=UTF-8",
    "application/vnd.api+json",
  ])("%s is JSON's", async (contentType) => {
    const body = JSON.stringify({ prompt: newPrompt(), model: "dall-e-2", size: "256x256" });
    expect((await send(body, contentType)).status).toBe(200);
  });
});

describe("a body that is too large", () => {
  const tooLarge = JSON.stringify({ prompt: "a", user: "x".repeat(LIMIT_BYTES) });

  it("with its length in the header", async () => {
    expect(await errorOf(await send(tooLarge, "application/json"))).toMatchObject({
      status: 413,
      type: "invalid_request_error",
      param: null,
      code: "request_too_large",
    });
  });

  it("without a length, counted while it comes: the answer does not wait for its end", async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const answering = send(readable, "application/json");
    await writer.write(new TextEncoder().encode(tooLarge));
    expect(await errorOf(await answering)).toMatchObject({
      status: 413,
      code: "request_too_large",
    });
    await writer.abort().catch(() => undefined);
  });

  it("by one byte, and not at the limit itself", async () => {
    const padded = (length: number) => JSON.stringify({ prompt: "a", n: 0 }).padEnd(length, " ");
    expect(await errorOf(await send(padded(LIMIT_BYTES), "application/json"))).toMatchObject({
      code: "integer_below_min_value",
    });
    expect(await errorOf(await send(padded(LIMIT_BYTES + 1), "application/json"))).toMatchObject({
      code: "request_too_large",
    });
  });
});

describe("the prompt is kept out of errors", () => {
  it.each([{ size: "1x1" }, { n: 0 }, { model: "nothing" }, { unknown: 1 }, { quality: "best" }])(
    "%o",
    async (fault) => {
      const response = await theStage.post({ prompt: "a very private wish", ...fault });
      expect(response.status).toBe(400);
      expect(await response.text()).not.toContain("private");
    },
  );

  it("and out of the log", () => {
    expect(theStage.gateway.logs()).toContain('"status":400');
    expect(theStage.gateway.logs()).not.toContain("private");
  });
});
