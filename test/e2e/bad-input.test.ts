import { describe, expect, it } from "vitest";
import { read, startStage, type ErrorBody } from "../support/stage.ts";
import { newPrompt } from "../support/bodies.ts";

const stage = startStage();
const LIMIT_BYTES = 64 * 1024;

/** Posts a body unchanged. */
function send(body: string | Uint8Array | ReadableStream | null, contentType?: string) {
  return fetch(`${stage.gateway.url}/v1/images/generations`, {
    method: "POST",
    headers: contentType === undefined ? {} : { "content-type": contentType },
    body,
    ...(body instanceof ReadableStream ? { duplex: "half" } : {}),
  });
}

async function jsonErrorOf(response: Response) {
  expect(response.headers.get("content-type")).toBe("application/json");
  expect(response.headers.get("access-control-allow-origin")).toBe("*");
  expect(response.headers.get("x-request-id")).toMatch(/^req_/);
  return { status: response.status, ...(await read<ErrorBody>(response)).error };
}

describe("a body with invalid JSON", () => {
  it.each([
    ["an empty body", ""],
    ["a truncated object", '{"prompt":"a"'],
    ["a form", "prompt=a"],
    ["two objects", '{"prompt":"a"}{"prompt":"b"}'],
    ["60,000 opening brackets", "[".repeat(60_000)],
    ["bytes that are not UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)],
    ["UTF-16", new Uint8Array(Buffer.from('{"prompt":"a"}', "utf16le"))],
  ])("is rejected with 400 `invalid_json`: %s", async (_, body) => {
    expect(await jsonErrorOf(await send(body, "application/json"))).toMatchObject({
      status: 400,
      type: "invalid_request_error",
      param: null,
      code: "invalid_json",
    });
  });

  it.each([["[]"], ["null"], ["1"], ['"prompt"']])(
    "is rejected with 400 `invalid_json` if it is not an object: %s",
    async (body) => {
      expect(await jsonErrorOf(await send(body, "application/json"))).toMatchObject({
        status: 400,
        code: "invalid_json",
      });
    },
  );
});

describe("a content type", () => {
  it.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonp",
    "text/json",
    undefined,
  ])("is rejected with 415 `unsupported_media_type`: %s", async (contentType) => {
    const body = new TextEncoder().encode(JSON.stringify({ prompt: "a" }));
    expect(await jsonErrorOf(await send(body, contentType))).toMatchObject({
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
  ])("is accepted as JSON: %s", async (contentType) => {
    const body = JSON.stringify({ prompt: newPrompt(), model: "dall-e-2", size: "256x256" });
    expect((await send(body, contentType)).status).toBe(200);
  });
});

describe("a body that is too large", () => {
  const tooLarge = JSON.stringify({ prompt: "a", user: "x".repeat(LIMIT_BYTES) });

  it("is rejected with 413 by its Content-Length", async () => {
    expect(await jsonErrorOf(await send(tooLarge, "application/json"))).toMatchObject({
      status: 413,
      type: "invalid_request_error",
      param: null,
      code: "request_too_large",
    });
  });

  it("is rejected with 413 without a Content-Length, before the body ends", async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const responding = send(readable, "application/json");
    await writer.write(new TextEncoder().encode(tooLarge));
    expect(await jsonErrorOf(await responding)).toMatchObject({
      status: 413,
      code: "request_too_large",
    });
    await writer.abort().catch(() => undefined);
  });

  it("is rejected one byte above the limit, and accepted at the limit", async () => {
    const padded = (length: number) => JSON.stringify({ prompt: "a", n: 0 }).padEnd(length, " ");
    expect(await jsonErrorOf(await send(padded(LIMIT_BYTES), "application/json"))).toMatchObject({
      code: "integer_below_min_value",
    });
    expect(
      await jsonErrorOf(await send(padded(LIMIT_BYTES + 1), "application/json")),
    ).toMatchObject({
      code: "request_too_large",
    });
  });
});

describe("a private prompt in an invalid request", () => {
  it.each([{ size: "1x1" }, { n: 0 }, { model: "nothing" }, { unknown: 1 }, { quality: "best" }])(
    "does not appear in the error response for %o",
    async (fault) => {
      const response = await stage.post({ prompt: "a very private wish", ...fault });
      expect(response.status).toBe(400);
      expect(await response.text()).not.toContain("private");
    },
  );

  it("does not appear in the log", () => {
    expect(stage.gateway.logs()).toContain('"status":400');
    expect(stage.gateway.logs()).not.toContain("private");
  });
});
