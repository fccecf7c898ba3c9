import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { signQuery } from "../../src/access/signed-url.ts";
import { read, startStage, type ErrorBody } from "../support/stage.ts";
import { newPrompt, SMALL } from "../support/bodies.ts";
import { OLD_TOKEN_SECRET, SVG_MODELS, TOKEN_SECRET } from "../support/vars.ts";
import { root } from "../support/root.ts";

const stage = startStage();
const { calls } = stage;

async function formatOf(response: Response): Promise<string | undefined> {
  const { format } = await sharp(await response.arrayBuffer()).metadata();
  return format;
}

describe("the Accept header of a generation", () => {
  it.each([
    ["image/*", "png"],
    ["image/png", "png"],
    ["image/webp", "webp"],
    ["image/jpeg", "jpeg"],
    ["image/webp;q=0.5, image/jpeg;q=0.9", "jpeg"],
    ["image/avif, image/webp", "webp"],
    // A browser's <img>.
    ["image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "webp"],
    ["image/gif, */*", "png"],
    ["image/tiff, */*;q=0.1", "png"],
    ["image/png;q=0, image/*", "jpeg"],
    ["image/*, image/png;q=0, image/jpeg;q=0", "webp"],
  ])("with %s returns the image as %s", async (accept, format) => {
    const prompt = newPrompt();
    const response = await stage.post({ prompt, quality: "low" }, { accept });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe(`image/${format}`);
    expect(response.headers.get("content-disposition")).toBe("inline");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    expect(response.headers.get("vary")).toContain("Accept");
    expect(response.headers.get("cache-status")).toBe("darkroom; fwd=miss; stored");
    const location = String(response.headers.get("content-location"));
    expect(await formatOf(response)).toBe(format);
    const file = await fetch(`${stage.gateway.url}${location}`);
    expect(file.headers.get("content-type")).toBe(`image/${format}`);
  });

  it.each([
    "application/json",
    "*/*",
    "application/json, image/png;q=0.5",
    "text/html",
    "text/html, */*;q=0.1",
    "application/json;q=0.1, image/webp",
    // Java's default.
    "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
  ])("with %s returns JSON", async (accept) => {
    const response = await stage.post({ ...SMALL, prompt: newPrompt() }, { accept });
    expect(response.headers.get("content-type")).toBe("application/json");
  });

  it("returns the same generation as an image and as JSON", async () => {
    const body = { ...SMALL, prompt: newPrompt() };
    const bytes = Buffer.from(
      await (await stage.post(body, { accept: "image/png" })).arrayBuffer(),
    );
    const json = await stage.post({ ...body, response_format: "b64_json" });
    expect(json.headers.get("cache-status")).toContain("hit");
    expect((await read(json)).data[0]?.b64_json).toBe(bytes.toString("base64"));
    expect(calls(body.prompt)).toBe(1);
  });

  it("chooses the first accepted format that the model generates", async () => {
    const body = { prompt: newPrompt(), model: "gpt-image-2.6-flare", quality: "low" };
    const response = await stage.post(body, { accept: "image/avif, image/gif;q=0.5" });
    expect(response.headers.get("content-type")).toBe("image/gif");
    expect(await formatOf(response)).toBe("gif");
  });

  it("does not choose the format of a stream", async () => {
    const body = {
      prompt: newPrompt(),
      model: "gpt-image-2.6-flare",
      quality: "low",
      stream: true,
    };
    const response = await stage.post(body, { accept: "image/gif" });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    expect(await response.text()).toContain('"output_format":"png"');
  });

  it.each([
    ["png", "[upstream delay=0]", "image/webp"],
    // Another format than requested.
    ["png", "[upstream type=jpeg]", "image/jpeg"],
    ["webp", "[upstream delay=0]", "image/png"],
    ["png", "[upstream delay=0]", "image/heic"],
    ["png", "[upstream delay=0]", "image/*, image/png;q=0, image/jpeg;q=0, image/webp;q=0"],
  ])(
    "returns an image that exists, requested as %s from %s, to %s",
    async (format, directive, accept) => {
      const body = { prompt: newPrompt(directive), quality: "low", output_format: format };
      const { data } = await read(await stage.post({ ...body, response_format: "b64_json" }));
      const response = await stage.post(body, { accept });
      expect([response.status, response.headers.get("cache-status")]).toEqual([
        200,
        expect.stringContaining("darkroom; hit"),
      ]);
      expect(response.headers.get("content-type")).toMatch(/^image\//);
      expect(Buffer.from(await response.arrayBuffer()).toString("base64")).toBe(data[0]?.b64_json);
    },
  );

  it("rejects a request with 406 without claiming its Idempotency-Key", async () => {
    const body = { prompt: newPrompt(), quality: "low", output_format: "png" };
    const key = { "idempotency-key": crypto.randomUUID() };
    expect((await stage.post(body, { ...key, accept: "image/webp" })).status).toBe(406);
    const another = { ...body, output_format: "webp" };
    expect((await stage.post(another, { ...key, accept: "image/webp" })).status).toBe(200);
  });

  it("with only-if-cached is 504, not 406", async () => {
    const headers = { accept: "image/webp", "cache-control": "only-if-cached" };
    const response = await stage.post({ prompt: newPrompt(), output_format: "png" }, headers);
    expect(response.status).toBe(504);
  });

  it("never rejects an image that exists, whatever its format", async () => {
    const { id } = await read(await stage.post({ ...SMALL, prompt: newPrompt() }));
    const url = `${stage.gateway.url}/v1/images/generations/${id}`;
    const response = await fetch(url, { headers: { accept: "image/webp" } });
    expect(response.status).toBe(200);
    expect(await formatOf(response)).toBe("png");
  });

  it("returns an image of another format if it accepts any type", async () => {
    const headers = { accept: "image/webp, */*;q=0.1" };
    const response = await stage.post({ ...SMALL, prompt: newPrompt() }, headers);
    expect(response.status).toBe(200);
    expect(await formatOf(response)).toBe("png");
  });

  it("returns several images as JSON", async () => {
    const body = { ...SMALL, prompt: newPrompt(), n: 2 };
    const posted = await stage.post(body, { accept: "image/*, */*" });
    expect(posted.headers.get("content-type")).toBe("application/json");
    const { id, data } = await read(posted);
    expect(data).toHaveLength(2);
    const url = `${stage.gateway.url}/v1/images/generations/${id}`;
    const polled = await fetch(url, { headers: { accept: "image/png" } });
    expect((await read(polled)).data).toHaveLength(2);
  });

  it("returns the image on a lookup by id", async () => {
    const { id } = await read(await stage.post({ ...SMALL, prompt: newPrompt() }));
    const url = `${stage.gateway.url}/v1/images/generations/${id}`;
    const response = await fetch(url, { headers: { accept: "image/*" } });
    expect(await formatOf(response)).toBe("png");
  });

  it.each([
    [{ output_format: "png" }, "image/webp", "the image is image/png"],
    [{ output_format: "webp" }, "image/png, image/jpeg", "the image is image/webp"],
    [SMALL, "image/webp", "the image is image/png"],
    [{}, "image/gif", "the image is image/png"],
    [{ model: "gpt-image-2.6-flare" }, "image/svg+xml", "the image is image/png"],
    [{}, "image/avif", "the image is image/png"],
    [{}, "image/tiff", "the image is image/png"],
    [{}, "image/*, image/png;q=0, image/jpeg;q=0, image/webp;q=0", "the image is image/png"],
    [{ n: 2 }, "image/*", "several images"],
  ])("for %o with %s returns 406 without calling the upstream", async (body, accept, reason) => {
    const prompt = newPrompt();
    const response = await stage.post({ ...body, prompt }, { accept });
    expect(response.status).toBe(406);
    const { error } = await read<ErrorBody>(response);
    expect(error.code).toBe("not_acceptable");
    expect(error.message).toContain(reason);
    expect(calls(prompt)).toBe(0);
  });
});

describe("a signed URL", () => {
  const rotated = startStage({ TOKEN_SECRET: `${TOKEN_SECRET},${OLD_TOKEN_SECRET}` });
  const extended = startStage({ SVG_MODELS, EXTRA_PARAMETERS: "seed" });

  /** Returns the URL that `scripts/sign-url.ts` prints. */
  async function signed(...args: string[]): Promise<string> {
    const script = join(root, "scripts/sign-url.ts");
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [script, "--origin", stage.gateway.url, ...args],
      { env: { ...process.env, TOKEN_SECRET } },
    );
    return stdout.trim();
  }

  it("generates its image on the first view, then returns it from the cache, and may be cached until it expires", async () => {
    const prompt = newPrompt("a man & a <fox> walk, 50% off");
    const url = await signed("--prompt", prompt, "--ttl", "600", "--size", "1024x1536");
    for (const outcome of ["fwd=miss", "hit"]) {
      const response = await fetch(url);
      expect(response.status).toBe(200);
      expect(response.headers.get("cache-status")).toContain(outcome);
      expect(response.headers.get("cross-origin-resource-policy")).toBe("cross-origin");
      const [, seconds] =
        /^public, max-age=(\d+)$/.exec(String(response.headers.get("cache-control"))) ?? [];
      expect(Number(seconds)).toBeGreaterThan(590);
      const metadata = await sharp(await response.arrayBuffer()).metadata();
      expect(metadata).toMatchObject({ format: "png", width: 1024, height: 1536 });
    }
    expect(calls(prompt)).toBe(1);
    const head = await fetch(url, { method: "HEAD" });
    const unchanged = await fetch(url, {
      headers: { "if-none-match": String(head.headers.get("etag")) },
    });
    expect(unchanged.status).toBe(304);
  });

  it("is accepted with a signature of either configured secret, and rejected with another", async () => {
    const parameters = { prompt: newPrompt(), model: "dall-e-2", size: "256x256" };
    const expires = Math.floor(Date.now() / 1000) + 60;
    const urlSignedWith = async (secret: string) =>
      `${rotated.gateway.url}/v1/images/generations?${await signQuery(parameters, expires, secret)}`;
    expect((await fetch(await urlSignedWith(OLD_TOKEN_SECRET))).status).toBe(200);
    expect((await fetch(await urlSignedWith(TOKEN_SECRET))).status).toBe(200);
    expect((await fetch(await urlSignedWith("a".repeat(32)))).status).toBe(403);
  });

  it("is accepted from the snippet in docs/api.md of at most twelve lines", async () => {
    const reference = readFileSync(join(root, "docs/api.md"), "utf8");
    const [, snippet = ""] = /```js\n(import \{ createHmac \}[\s\S]*?)```/.exec(reference) ?? [];
    expect(snippet.trim().split("\n").length).toBeLessThanOrEqual(12);
    const code = snippet.replace("process.env.TOKEN_SECRET", JSON.stringify(TOKEN_SECRET));
    const module = (await import(`data:text/javascript,${encodeURIComponent(code)}`)) as {
      imageUrl: (origin: string, parameters: object, ttlSeconds: number) => string;
    };
    const prompt = newPrompt("ten lines: é & 🦊");
    const url = module.imageUrl(stage.gateway.url, { prompt, ...SMALL }, 60);
    expect((await fetch(url)).status).toBe(200);
  });

  it.each([
    ["another prompt", (url: URL) => url.searchParams.set("prompt", "another")],
    ["a later expiry", (url: URL) => url.searchParams.set("exp", "99999999999")],
    ["an added parameter", (url: URL) => url.searchParams.set("quality", "high")],
    ["a repeated parameter", (url: URL) => url.searchParams.append("size", "1024x1536")],
    ["another signature", (url: URL) => url.searchParams.set("sig", "0".repeat(64))],
    ["half a signature", (url: URL) => url.searchParams.set("sig", "abc")],
    ["no signature", (url: URL) => url.searchParams.delete("sig")],
  ])("is rejected with %s, without calling the upstream", async (_, change) => {
    const prompt = newPrompt();
    const url = new URL(await signed("--prompt", prompt, "--size", "1024x1024"));
    change(url);
    const response = await fetch(url);
    expect(response.status).toBe(403);
    expect((await read<ErrorBody>(response)).error.code).toBe("invalid_signature");
    expect(calls(prompt)).toBe(0);
  });

  it("is accepted with its parameters in another order", async () => {
    const url = new URL(
      await signed("--prompt", newPrompt(), "--model", "dall-e-2", "--size", "256x256"),
    );
    const reversed = new URLSearchParams([...url.searchParams].toReversed());
    expect((await fetch(`${url.origin}${url.pathname}?${reversed.toString()}`)).status).toBe(200);
  });

  it("is rejected after its expiry with `signature_expired`", async () => {
    const url = await signed("--prompt", newPrompt(), "--ttl", "0.001");
    const response = await fetch(url);
    expect(response.status).toBe(403);
    expect((await read<ErrorBody>(response)).error.code).toBe("signature_expired");
  });

  it("is rejected with 400 if a parameter is invalid", async () => {
    const response = await fetch(await signed("--prompt", newPrompt(), "--size", "1x1"));
    expect(response.status).toBe(400);
    expect((await read<ErrorBody>(response)).error.param).toBe("size");
  });

  it("accepts the newer parameters", async () => {
    const prompt = newPrompt();
    const parameters = {
      prompt,
      model: "gpt-image-2.6-flare",
      size: "320x320",
      output_format: "gif",
      frame_count: "4",
      complexity: "low",
      variant: "7",
    };
    const options = Object.entries(parameters).flatMap(([name, value]) => [`--${name}`, value]);
    expect(await formatOf(await fetch(await signed(...options)))).toBe("gif");
    expect(stage.upstream.received(prompt)[0]?.body).toMatchObject({
      frame_count: 4,
      complexity: "low",
    });
  });

  it("accepts the parameters of `svg`, and those that EXTRA_PARAMETERS names", async () => {
    const prompt = newPrompt();
    const [author] = Object.keys(JSON.parse(SVG_MODELS));
    const parameters = {
      prompt,
      model: "gpt-image-2.6-flare",
      output_format: "svg",
      origin: extended.gateway.url,
    };
    const options = Object.entries(parameters).flatMap(([name, value]) => [`--${name}`, value]);
    for (const each of [`svg[model]=${author}`, "svg[reasoning][effort]=low", "seed=7"]) {
      options.push("--parameter", each);
    }
    const response = await fetch(await signed(...options));
    expect(response.headers.get("content-type")).toBe("image/svg+xml");
    expect(extended.upstream.received(prompt)[0]?.body).toMatchObject({
      svg: { model: author, reasoning: { effort: "low" } },
      seed: 7,
    });
  });

  it("accepts numeric parameters", async () => {
    const url = await signed(
      "--prompt",
      newPrompt(),
      "--output_format",
      "jpeg",
      "--output_compression",
      "50",
    );
    expect(await formatOf(await fetch(url))).toBe("jpeg");
  });
});

describe("GET /v1/images/generations without TOKEN_SECRET", () => {
  const closed = startStage({ TOKEN_SECRET: undefined });

  it("returns 405, because the URL accepts only POST", async () => {
    const response = await fetch(
      `${closed.gateway.url}/v1/images/generations?prompt=a&exp=1&sig=b`,
    );
    expect([response.status, response.headers.get("allow")]).toEqual([405, "POST"]);
    expect((await read<ErrorBody>(response)).error.code).toBe("method_not_allowed");
  });
});
