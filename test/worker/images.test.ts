import { reset } from "cloudflare:test";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callWorker, environment, fetchWorker, post } from "../support/worker/harness.ts";

let url = "";
let whole = new Uint8Array();
let etag = "";

beforeAll(async () => {
  const body = { prompt: crypto.randomUUID(), model: "dall-e-2", size: "256x256" };
  const generated = await post(body);
  const { data } = await generated.json<{ data: { url: string }[] }>();
  url = String(data[0]?.url);
  const response = await get();
  whole = new Uint8Array(await response.arrayBuffer());
  etag = String(response.headers.get("etag"));
});

afterAll(() => reset());

function get(headers: Record<string, string> = {}, fileUrl = url, method = "GET") {
  return fetchWorker(fileUrl, environment(), { method, headers });
}

describe("an image file", () => {
  it("has the documented headers", async () => {
    const response = await get();
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "accept-ranges": "bytes",
      "access-control-allow-origin": "*",
      "cache-control": "public, max-age=31536000, immutable",
      "content-length": String(whole.byteLength),
      "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
      "content-type": "image/png",
      "cross-origin-resource-policy": "cross-origin",
      etag: expect.stringMatching(/^"[^"]+"$/) as string,
      "x-content-type-options": "nosniff",
    });
  });

  it("is readable from every origin, even if ALLOWED_ORIGINS limits the API", async () => {
    const env = environment({ ALLOWED_ORIGINS: "https://app.example" });
    const request = new Request(url, { headers: { origin: "https://other.example" } });
    const response = await callWorker(request, env);
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
  });

  it("has the same length and ETag in a HEAD response, without a body", async () => {
    const response = await get({}, url, "HEAD");
    expect(response.status).toBe(200);
    expect(response.headers.get("content-length")).toBe(String(whole.byteLength));
    expect(response.headers.get("etag")).toBe(etag);
    expect(await response.text()).toBe("");
  });

  it.each([
    ["its ETag", () => etag],
    ["its ETag marked as weak", () => `W/${etag}`],
    ["its ETag among others", () => `"a", ${etag}`],
    ["an asterisk", () => "*"],
  ])("is not sent again if If-None-Match has %s: 304 without a body", async (_, tag) => {
    const response = await get({ "if-none-match": tag() });
    expect(response.status).toBe(304);
    expect(response.headers.get("etag")).toBe(etag);
    expect(response.headers.get("cache-control")).toContain("immutable");
    expect(await response.text()).toBe("");
  });

  it("is sent if If-None-Match has another ETag", async () => {
    expect((await get({ "if-none-match": '"other"' })).status).toBe(200);
  });
});

describe("a range request", () => {
  it.each([
    ["bytes=0-9", 0, 10],
    ["bytes=5-5", 5, 6],
    ["bytes=100-", 100, undefined],
    ["bytes=-7", -7, undefined],
    ["bytes=10-999999999", 10, undefined],
  ])("returns the bytes of %s with 206", async (range, start, end) => {
    const response = await get({ range });
    const expected = whole.slice(start, end);
    const first = start < 0 ? whole.length + start : start;
    expect(response.status).toBe(206);
    expect(response.headers.get("content-range")).toBe(
      `bytes ${first}-${first + expected.length - 1}/${whole.length}`,
    );
    expect(response.headers.get("content-length")).toBe(String(expected.length));
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(expected);
  });

  it("is rejected with 416 and the image's length if it starts beyond the end", async () => {
    const response = await get({ range: `bytes=${whole.length}-` });
    expect(response.status).toBe(416);
    expect(response.headers.get("content-range")).toBe(`bytes */${whole.length}`);
    expect(await response.json()).toMatchObject({ error: { code: "range_not_satisfiable" } });
  });

  it.each([["bytes=9-5"], ["bytes=x"], ["bytes"], ["lines=1-2"], ["bytes=0-1,5-6"], [""]])(
    "returns the whole image if its Range header is %j",
    async (range) => {
      const response = await get({ range });
      expect(response.status).toBe(200);
      expect(new Uint8Array(await response.arrayBuffer())).toEqual(whole);
    },
  );

  it("returns the range only if its If-Range is the image's ETag, else the whole image", async () => {
    expect((await get({ range: "bytes=0-9", "if-range": etag })).status).toBe(206);
    expect((await get({ range: "bytes=0-9", "if-range": '"other"' })).status).toBe(200);
  });
});

describe("an unknown image URL", () => {
  it.each([
    ["another index", () => url.replace("/0.png", "/1.png")],
    ["another type than the image has", () => url.replace(".png", ".webp")],
    ["a type that is never served", () => url.replace(".png", ".svg")],
    ["no type", () => url.replace(".png", "")],
    ["an unknown id", () => url.replace(/gen_[\w-]{4}/, "gen_0000")],
    ["an invalid id", () => url.replace(/gen_[\w-]+/, "gen_x")],
    ["a path traversal", () => url.replace(/gen_[\w-]+/, "..%2f..%2frequest")],
  ])("responds 404 and is readable from every origin: %s", async (_, fileUrl) => {
    const response = await get({}, fileUrl());
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { code: "image_not_found" } });
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
  });
});
