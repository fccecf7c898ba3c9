import sharp, { type Metadata } from "sharp";
import { beforeAll, describe, expect, it } from "vitest";
import { GIF, newPrompt, SMALL, STREAM, SVG } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { read, startStage, type ErrorBody, type GenerationBody } from "../support/stage.ts";
import { SVG_MODELS } from "../support/vars.ts";

const stage = startStage({ SVG_MODELS });

interface TypeCase {
  type: string;
  body: { model: string; size: string; output_format?: string };
  directives?: string;
  contentType: string;
  disposition: string;
  /** The file's metadata as sharp reads it. */
  metadata: Partial<Metadata>;
}

const CASES: TypeCase[] = [
  {
    type: "gif",
    body: GIF,
    contentType: "image/gif",
    disposition: "inline",
    metadata: { format: "gif", pages: GIF.frame_count },
  },
  {
    type: "avif",
    body: SMALL,
    directives: "[upstream type=avif]",
    contentType: "image/avif",
    disposition: "inline",
    metadata: { format: "heif", compression: "av1" },
  },
  {
    type: "svg",
    body: SVG,
    contentType: "image/svg+xml",
    disposition: "attachment",
    metadata: { format: "svg" },
  },
];

describe.each(CASES)(
  "an image of type $type",
  ({ type, body, directives, contentType, disposition, metadata }) => {
    let request: TypeCase["body"] & { prompt: string };
    let generated: GenerationBody & { output_format: string };
    let bytes: Buffer;
    let url: string;

    beforeAll(async () => {
      request = { ...body, prompt: newPrompt(directives) };
      generated = await read(await stage.post({ ...request, response_format: "b64_json" }));
      bytes = Buffer.from(String(generated.data[0]?.b64_json), "base64");
      const repeated = await read(await stage.post({ ...request, response_format: "url" }));
      url = String(repeated.data[0]?.url);
    });

    it("has the type, the frames and the size of the request", async () => {
      const [width] = request.size.split("x").map(Number);
      expect(await sharp(bytes).metadata()).toMatchObject({ ...metadata, width });
    });

    it("is returned in JSON with its type as `output_format`, and by a URL that ends in it", () => {
      expect(generated.output_format).toBe(type);
      expect(url).toBe(`${stage.gateway.url}/v1/images/${generated.id}/0.${type}`);
      expect(generated.choices[0]?.message.content).toContain(`(${url})`);
    });

    it("is stored in KV with its type, and returned from there without calling the upstream", async () => {
      await eventually(async () => {
        const { keys } = await stage.gateway.cache.list({ prefix: `generation/${generated.id}` });
        expect(keys).toHaveLength(1);
      });
      const key = `image/${generated.id}/0`;
      const { value, metadata } = await stage.gateway.cache.getWithMetadata(key, "arrayBuffer");
      expect(metadata).toEqual({ type, sizeBytes: bytes.byteLength });
      expect(Buffer.from(value ?? new ArrayBuffer()).equals(bytes)).toBe(true);
      const repeated = await stage.post({ ...request, response_format: "b64_json" });
      expect(repeated.headers.get("cache-status")).toMatch(/^darkroom; hit;/);
      expect(await read(repeated)).toEqual(generated);
      expect(stage.calls(request.prompt)).toBe(1);
    });

    it("is a file with the same bytes, its own Content-Type and headers that isolate it", async () => {
      const file = await fetch(url);
      expect(file.status).toBe(200);
      expect(Object.fromEntries(file.headers)).toMatchObject({
        "content-disposition": disposition,
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "content-type": contentType,
        "x-content-type-options": "nosniff",
      });
      expect(Buffer.from(await file.arrayBuffer()).equals(bytes)).toBe(true);
    });

    it("has the length and the ETag of the file in a HEAD response, without a body", async () => {
      const file = await fetch(url);
      await file.body?.cancel();
      const head = await fetch(url, { method: "HEAD" });
      expect(head.status).toBe(200);
      expect(Object.fromEntries(head.headers)).toMatchObject({
        "content-length": String(bytes.byteLength),
        "content-type": contentType,
        etag: file.headers.get("etag"),
      });
      expect(await head.text()).toBe("");
    });

    it("is not sent again if If-None-Match has its ETag: 304 without a body", async () => {
      const head = await fetch(url, { method: "HEAD" });
      const etag = String(head.headers.get("etag"));
      const response = await fetch(url, { headers: { "if-none-match": etag } });
      expect(response.status).toBe(304);
      expect(response.headers.get("etag")).toBe(etag);
      expect(await response.text()).toBe("");
    });

    it("is sent in part for a Range", async () => {
      const response = await fetch(url, { headers: { range: "bytes=4-99" } });
      expect(response.status).toBe(206);
      expect(response.headers.get("content-range")).toBe(`bytes 4-99/${bytes.byteLength}`);
      expect(response.headers.get("content-type")).toBe(contentType);
      const part = Buffer.from(await response.arrayBuffer());
      expect(part.equals(bytes.subarray(4, 100))).toBe(true);
    });

    it("is returned instead of JSON, with the headers of its file, to a client that accepts any image", async () => {
      const response = await stage.post(request, { accept: "image/*" });
      expect(response.status).toBe(200);
      expect(Object.fromEntries(response.headers)).toMatchObject({
        "content-disposition": disposition,
        "content-location": new URL(url).pathname,
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "content-type": contentType,
        "x-content-type-options": "nosniff",
      });
      expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
    });

    it("has no URL with the extension of another type", async () => {
      expect((await fetch(url.replace(/\w+$/, "png"))).status).toBe(404);
    });
  },
);

describe("frame_duration_ms", () => {
  it.each([65_536, Number.MAX_SAFE_INTEGER])(
    "may be longer than the simulator can write: %i",
    async (ms) => {
      const body = { ...GIF, frame_duration_ms: ms, prompt: newPrompt() };
      expect((await stage.post(body)).status).toBe(200);
    },
  );
});

describe("Accept: image/gif", () => {
  it("selects GIF for a model that generates it", async () => {
    const { output_format, ...body } = { ...GIF, prompt: newPrompt() };
    const response = await stage.post(body, { accept: "image/gif" });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("image/gif");
    const { pages } = await sharp(await response.arrayBuffer()).metadata();
    expect(pages).toBe(body.frame_count);
    expect(stage.upstream.received(body.prompt)[0]?.body).toMatchObject({ output_format });
  });
});

describe("a stream of another type than its events say", () => {
  it("has the type of the bytes as `output_format` of the partial images and of the completed one", async () => {
    const response = await stage.post({ ...STREAM, prompt: newPrompt("[upstream type=gif]") });
    const types = [...(await response.text()).matchAll(/"output_format":"(\w+)"/g)];
    expect(types.map(([, type]) => type)).toEqual(["gif", "gif", "gif"]);
  });
});

describe("SVG", () => {
  const withoutSvg = startStage();

  it("is rejected with `invalid_value` if SVG_MODELS is not set, without calling the upstream", async () => {
    const body = { ...SVG, prompt: newPrompt() };
    const response = await withoutSvg.post(body);
    expect(response.status).toBe(400);
    expect((await read<ErrorBody>(response)).error).toMatchObject({
      code: "invalid_value",
      param: "output_format",
    });
    expect(withoutSvg.calls(body.prompt)).toBe(0);
  });

  it.each([
    ["with", stage],
    ["without", withoutSvg],
  ])(
    "is rejected with `upstream_invalid_response` if the client requested PNG, %s SVG_MODELS",
    async (_, gateway) => {
      const prompt = newPrompt("[upstream type=svg]");
      const response = await gateway.post({ ...SVG, output_format: "png", prompt });
      expect(response.status).toBe(502);
      expect((await read<ErrorBody>(response)).error.code).toBe("upstream_invalid_response");
    },
  );

  it("is one of the types in the error if it was requested and the upstream sends HTML", async () => {
    const prompt = newPrompt("[upstream answer=html-as-png]");
    const response = await stage.post({ ...SVG, prompt });
    expect(response.status).toBe(502);
    expect((await read<ErrorBody>(response)).error).toMatchObject({
      code: "upstream_invalid_response",
      message: expect.stringContaining("is not PNG, JPEG, WebP, GIF, AVIF or SVG"),
    });
  });

  it("has the tokens of the model that wrote it in `svg_usage`", async () => {
    const response = await stage.post({ ...SVG, prompt: newPrompt() });
    const { svg_usage } = await read<{ svg_usage: Record<string, number | string> }>(response);
    expect(Object.keys(JSON.parse(SVG_MODELS))).toContain(svg_usage["model"]);
    expect(svg_usage["input_tokens"]).toBeGreaterThan(0);
    expect(svg_usage["output_tokens"]).toBeGreaterThan(0);
    expect(svg_usage["total_tokens"]).toBe(
      Number(svg_usage["input_tokens"]) + Number(svg_usage["output_tokens"]),
    );
  });
});

describe("a combination that the Images API does not support", () => {
  it.each([
    { ...SVG, output_format: "png", param: "frame_count", value: 4 },
    { ...SVG, output_format: "png", param: "frame_duration_ms", value: 100 },
    { ...SVG, output_format: "png", param: "svg", value: { model: null } },
    { ...SVG, param: "frame_count", value: 4 },
    { ...SVG, param: "stream", value: true },
    { ...SVG, param: "partial_images", value: 1 },
    { ...SVG, param: "output_compression", value: 50 },
    { ...SVG, param: "n", value: 2 },
    { ...GIF, param: "svg", value: { model: null } },
    { ...GIF, param: "stream", value: true },
    { ...GIF, param: "partial_images", value: 1 },
    { ...GIF, param: "output_compression", value: 50 },
  ])(
    "is rejected without calling the upstream: $param $value with $output_format",
    async ({ param, value, ...body }) => {
      const prompt = newPrompt();
      const response = await stage.post({ ...body, [param]: value, prompt });
      expect(response.status).toBe(400);
      expect((await read<ErrorBody>(response)).error).toMatchObject({
        type: "image_generation_user_error",
        code: "unsupported_parameter",
        param,
      });
      expect(stage.calls(prompt)).toBe(0);
    },
  );
});
