import { reset } from "cloudflare:test";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callWorker, environment, generationRequest } from "../support/worker/harness.ts";

let url = "";
let whole = new Uint8Array();
let etag = "";

beforeAll(async () => {
  const body = { prompt: crypto.randomUUID(), model: "dall-e-2", size: "256x256" };
  const made = await callWorker(generationRequest(body), environment());
  const { data } = await made.json<{ data: { url: string }[] }>();
  url = String(data[0]?.url);
  const response = await get();
  whole = new Uint8Array(await response.arrayBuffer());
  etag = String(response.headers.get("etag"));
});

afterAll(() => reset());

function get(headers: Record<string, string> = {}, address = url, method = "GET") {
  return callWorker(new Request(address, { method, headers }), environment());
}

describe("an image as a file", () => {
  it("has the contract's headers", async () => {
    const response = await get();
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "accept-ranges": "bytes",
      "access-control-allow-origin": "*",
      "cache-control": "public, max-age=31536000, immutable",
      "content-length": String(whole.byteLength),
      "content-security-policy": "default-src 'none'; sandbox",
      "content-type": "image/png",
      "cross-origin-resource-policy": "cross-origin",
      etag: expect.stringMatching(/^"[^"]+"$/) as string,
      "x-content-type-options": "nosniff",
    });
  });

  it("is open to every origin, whatever the API is open to", async () => {
    const env = environment({ ALLOWED_ORIGINS: "https://app.example" });
    const request = new Request(url, { headers: { origin: "https://other.example" } });
    const response = await callWorker(request, env);
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
  });

  it("answers HEAD with the same headers and no body", async () => {
    const response = await get({}, url, "HEAD");
    expect(response.status).toBe(200);
    expect(response.headers.get("content-length")).toBe(String(whole.byteLength));
    expect(response.headers.get("etag")).toBe(etag);
    expect(await response.text()).toBe("");
  });

  it.each([
    ["the tag", () => etag],
    ["the tag, weak", () => `W/${etag}`],
    ["the tag among others", () => `"a", ${etag}`],
    ["any", () => "*"],
  ])("is not sent again to who has %s", async (_, tag) => {
    const response = await get({ "if-none-match": tag() });
    expect(response.status).toBe(304);
    expect(response.headers.get("etag")).toBe(etag);
    expect(response.headers.get("cache-control")).toContain("immutable");
    expect(await response.text()).toBe("");
  });

  it("is sent to who has another one", async () => {
    expect((await get({ "if-none-match": '"other"' })).status).toBe(200);
  });
});

describe("a range", () => {
  it.each([
    ["bytes=0-9", 0, 10],
    ["bytes=5-5", 5, 6],
    ["bytes=100-", 100, undefined],
    ["bytes=-7", -7, undefined],
    ["bytes=10-999999999", 10, undefined],
  ])("%s", async (range, start, end) => {
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

  it("beyond the end cannot be satisfied", async () => {
    const response = await get({ range: `bytes=${whole.length}-` });
    expect(response.status).toBe(416);
    expect(response.headers.get("content-range")).toBe(`bytes */${whole.length}`);
    expect(await response.json()).toMatchObject({ error: { code: "range_not_satisfiable" } });
  });

  it.each([["bytes=9-5"], ["bytes=x"], ["bytes"], ["lines=1-2"], ["bytes=0-1,5-6"], [""]])(
    "%j is ignored",
    async (range) => {
      const response = await get({ range });
      expect(response.status).toBe(200);
      expect(new Uint8Array(await response.arrayBuffer())).toEqual(whole);
    },
  );

  it("holds only for the picture that it was begun with", async () => {
    expect((await get({ range: "bytes=0-9", "if-range": etag })).status).toBe(206);
    expect((await get({ range: "bytes=0-9", "if-range": '"other"' })).status).toBe(200);
  });
});

describe("an address at which there is nothing", () => {
  it.each([
    ["another index", () => url.replace("/0.png", "/1.png")],
    ["another type than the picture has", () => url.replace(".png", ".webp")],
    ["a type that is never served", () => url.replace(".png", ".svg")],
    ["no type", () => url.replace(".png", "")],
    ["an unknown id", () => url.replace(/gen_[\w-]{4}/, "gen_0000")],
    ["an id that is none", () => url.replace(/gen_[\w-]+/, "gen_x")],
    ["a path that climbs", () => url.replace(/gen_[\w-]+/, "..%2f..%2frequest")],
  ])("%s: 404", async (_, address) => {
    const response = await get({}, address());
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { code: "image_not_found" } });
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
  });
});
