import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startUpstream } from "../bench/upstream.ts";
import { startSimulator, type ProfileName, type Simulator } from "../support/upstream/simulator.ts";
import { read } from "../support/stage.ts";
import { newPrompt } from "../support/bodies.ts";

let simulator: Simulator;

beforeAll(async () => {
  simulator = await startSimulator();
});
afterAll(() => simulator.close());

interface Generated {
  data: { b64_json: string; url?: string }[];
  usage: { input_tokens: number; output_tokens: number; total_tokens: number };
  [name: string]: unknown;
}

function send(body: object, headers: Record<string, string> = { authorization: "Bearer any" }) {
  return fetch(`${simulator.baseUrl}/images/generations`, {
    method: "POST",
    headers,
    body: JSON.stringify({ model: "gpt-image-1.5", prompt: newPrompt(), n: 1, ...body }),
  });
}

async function generate(body: object): Promise<Generated> {
  return (await (await send(body)).json()) as Generated;
}

function bytesOf(generated: Generated, index = 0): Buffer {
  return Buffer.from(String(generated.data[index]?.b64_json), "base64");
}

/** Returns the output tokens that a response reports. */
async function tokensOf(body: object): Promise<number> {
  return (await generate(body)).usage.output_tokens;
}

/** Returns the status and the error of a request that fails. */
async function errorOf(body: object): Promise<unknown> {
  const response = await send({ ...body, size: "256x256" });
  return { status: response.status, ...(await read<object>(response)) };
}

/** Returns the data of the last event of a stream without partial images. */
async function completedEvent(body: object): Promise<Record<string, unknown>> {
  const text = await (await send({ ...body, stream: true })).text();
  const data = /^event: image_generation\.completed\ndata: (.+)$/m.exec(text)?.[1];
  return JSON.parse(String(data)) as Record<string, unknown>;
}

async function bytesAt(url: string | undefined): Promise<Buffer> {
  return Buffer.from(await (await fetch(String(url))).arrayBuffer());
}

/** Starts a simulator with a profile before the tests of a block, and closes it after them. */
function startProfile(profile: ProfileName, model: string) {
  const headers = { authorization: "Bearer any" };
  let server: Simulator | undefined;
  beforeAll(async () => {
    server = await startSimulator({ profile });
  });
  afterAll(() => server?.close());
  return {
    post: (body: object) =>
      fetch(`${server?.baseUrl}/images/generations`, {
        method: "POST",
        headers,
        body: JSON.stringify({ model, prompt: newPrompt(), ...body }),
      }),
    async listed() {
      const response = await fetch(`${server?.baseUrl}/models`, { headers });
      return (await read<{ data: { id: string }[] }>(response)).data.map(({ id }) => id);
    },
  };
}

describe("the simulated upstream", () => {
  it.each([
    ["1024x1024", { low: 272, medium: 1056, high: 4160, auto: 4160 }],
    ["1024x1536", { low: 408, medium: 1584, high: 6240 }],
    ["1536x1024", { low: 400, medium: 1568, high: 6208 }],
  ])("counts the tokens of OpenAI's table for %s", async (size, table) => {
    for (const [quality, tokens] of Object.entries(table)) {
      const { usage } = await generate({ prompt: "one", size, quality, n: 2 });
      expect(usage.output_tokens).toBe(2 * tokens);
      expect(usage.total_tokens).toBe(usage.input_tokens + usage.output_tokens);
    }
  });

  it.each([
    ["png", "256x512"],
    ["jpeg", "1536x1024"],
    ["webp", "1024x1024"],
  ])("generates a decodable image: %s, %s", async (format, size) => {
    const generated = await generate({ output_format: format, size });
    const { format: actualFormat, width, height } = await sharp(bytesOf(generated)).metadata();
    expect({ actualFormat, size: `${width}x${height}` }).toEqual({ actualFormat: format, size });
    const { channels } = await sharp(bytesOf(generated)).stats();
    expect(channels.some((channel) => channel.stdev > 5)).toBe(true);
  });

  it("generates the same image for the same prompt, and another for another prompt", async () => {
    const [first, same, other] = [
      await generate({ prompt: "one", size: "256x256" }),
      await generate({ prompt: "one", size: "256x256" }),
      await generate({ prompt: "two", size: "256x256" }),
    ];
    expect(bytesOf(first)).toEqual(bytesOf(same));
    expect(bytesOf(first)).not.toEqual(bytesOf(other));
  });

  it("accepts any prompt", async () => {
    for (const prompt of ["<b>&amp;", "\u0000\u0007", "🦊\ud83e", " ", "é".repeat(1000)]) {
      const generated = await generate({ prompt, size: "256x256" });
      expect((await sharp(bytesOf(generated)).metadata()).format).toBe("png");
    }
  });

  it("applies transparency and compression", async () => {
    const clear = await generate({ background: "transparent", size: "256x256" });
    expect((await sharp(bytesOf(clear)).stats()).isOpaque).toBe(false);
    const opaque = await generate({ size: "256x256" });
    expect((await sharp(bytesOf(opaque)).stats()).isOpaque).toBe(true);

    const prompt = newPrompt();
    const jpeg = (output_compression: number) =>
      generate({ prompt, output_format: "jpeg", output_compression, size: "1024x1024" });
    expect(bytesOf(await jpeg(5)).length).toBeLessThan(bytesOf(await jpeg(95)).length);
  });

  it("generates a GIF of 9 different frames of 200 ms by default", async () => {
    const generated = await generate({ output_format: "gif", size: "256x128" });
    expect(generated["output_format"]).toBe("gif");
    const image = sharp(bytesOf(generated), { animated: true });
    expect(await image.metadata()).toMatchObject({
      format: "gif",
      width: 256,
      pageHeight: 128,
      pages: 9,
      delay: Array.from({ length: 9 }, () => 200),
    });
    const pixels = await image.raw().toBuffer();
    const frame = pixels.byteLength / 9;
    const frames = Array.from({ length: 9 }, (_, index) =>
      pixels.subarray(index * frame, (index + 1) * frame).toString("base64"),
    );
    expect(new Set(frames).size).toBe(9);
  });

  it("generates a GIF with the requested number and duration of frames", async () => {
    const frames = { frame_count: 3, frame_duration_ms: 70 };
    const generated = await generate({ output_format: "gif", size: "256x128", ...frames });
    const { pages, delay } = await sharp(bytesOf(generated), { animated: true }).metadata();
    expect({ pages, delay }).toEqual({ pages: 3, delay: [70, 70, 70] });
  });

  it("generates an SVG document of the requested size with the prompt as escaped text", async () => {
    const prompt = '<b> & "quotes" \u0007 \ud83e';
    const generated = await generate({ prompt, output_format: "svg", size: "256x128" });
    const { format, width, height } = await sharp(bytesOf(generated)).metadata();
    expect({ format, width, height }).toEqual({ format: "svg", width: 256, height: 128 });
    const svg = bytesOf(generated).toString();
    expect(svg).toMatch(/^<svg [^>]*width="256" height="128"/);
    expect(svg).toContain('&lt;b&gt; &amp; "quotes"   \ufffd</text>');
    expect(svg).not.toMatch(/script|onload|http:\/\/127/);
  });

  it("generates a hostile SVG document that is well-formed and has four attacks", async () => {
    const prompt = newPrompt("[upstream svg=hostile]");
    const generated = await generate({ prompt, output_format: "svg", size: "256x128" });
    // The decoder rejects XML that is not well-formed. It runs no script and fetches nothing.
    await sharp(bytesOf(generated)).png().toBuffer();
    const svg = bytesOf(generated).toString();
    const track = `${simulator.origin}/images/track/`;
    expect(svg).toContain(`onload="fetch('${track}onload')"`);
    expect(svg).toMatch(/<script><!\[CDATA\[[^\]]+\]\]><\/script>/);
    expect(svg).toContain(`fetch("${track}script")`);
    expect(svg).toContain(`<image href="${track}external"`);
    expect(svg).toContain(`<a href="${track}link"><rect width="100%" height="100%"`);
  });

  it("records a request for a URL of a hostile SVG document", async () => {
    const path = `/images/track/${crypto.randomUUID()}`;
    expect((await fetch(`${simulator.origin}${path}`)).status).toBe(403);
    expect(simulator.fetched.map((request) => request.path)).toContain(path);
  });

  it.each(["png", "svg"])(
    "returns AVIF by a directive although the request says %s",
    async (format) => {
      const prompt = newPrompt("[upstream type=avif]");
      const generated = await generate({ prompt, output_format: format, size: "256x128" });
      expect(bytesOf(generated).toString("latin1", 4, 12)).toBe("ftypavif");
      const { mediaType, width, height } = await sharp(bytesOf(generated)).metadata();
      expect({ mediaType, width, height }).toEqual({
        mediaType: "image/avif",
        width: 256,
        height: 128,
      });
    },
  );

  it("pads an SVG document without making it invalid", async () => {
    const prompt = newPrompt("[upstream bytes=5000]");
    const generated = await generate({ prompt, output_format: "svg", size: "256x128" });
    expect(bytesOf(generated)).toHaveLength(5000);
    expect((await sharp(bytesOf(generated)).metadata()).format).toBe("svg");
  });

  it("generates another image for another seed", async () => {
    const [none, first, same, other] = [
      await generate({ prompt: "one", size: "256x256" }),
      await generate({ prompt: "one", size: "256x256", seed: 1 }),
      await generate({ prompt: "one", size: "256x256", seed: 1 }),
      await generate({ prompt: "one", size: "256x256", seed: 2 }),
    ].map((generated) => generated.data[0]?.b64_json);
    expect(first).toBe(same);
    expect(new Set([none, first, other]).size).toBe(3);
  });

  it("streams partial images, then the completed one", async () => {
    const response = await send({ stream: true, partial_images: 2, size: "256x256" });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const events = (await response.text()).split("\n\n").filter((event) => event !== "");
    expect(events.map((event) => event.split("\n")[0])).toEqual([
      "event: image_generation.partial_image",
      "event: image_generation.partial_image",
      "event: image_generation.completed",
    ]);
  });

  it("requires an API key, as OpenAI does", async () => {
    expect((await send({}, {})).status).toBe(401);
  });

  it("fails as often as the directive says, and then succeeds", async () => {
    const prompt = newPrompt("[upstream status=503 times=2]");
    const statuses = [];
    for (let round = 0; round < 3; round += 1) {
      statuses.push((await send({ prompt, size: "256x256" })).status);
    }
    expect(statuses).toEqual([503, 503, 200]);
  });
});

describe("the usage of the simulated upstream", () => {
  it.each([
    ["gpt-image-1", "1024x1024", { low: 272, medium: 1056, high: 4160 }],
    ["chatgpt-image-latest", "1024x1024", { low: 272, medium: 1056, high: 4160 }],
    ["gpt-image-2", "1024x1024", { low: 196, medium: 1756, high: 7024 }],
    ["gpt-image-2-2026-04-21", "1536x1024", { low: 158, medium: 1372, high: 5488 }],
    [
      "gpt-image-2.5-flare",
      "1024x1024",
      { low: 196, medium: 439, high: 1756, xhigh: 3122, max: 7024 },
    ],
    [
      "gpt-image-2.6-sunburst",
      "1024x1024",
      { low: 882, medium: 1976, high: 1756, xhigh: 3122, max: 7024 },
    ],
  ])("has the output tokens of %s at %s", async (model, size, tokens) => {
    for (const [quality, output] of Object.entries(tokens)) {
      expect(await tokensOf({ prompt: "one", model, size, quality })).toBe(output);
    }
  });

  it.each([
    [2, "1024x512"],
    [8, "1024x512"],
    [9, "768x768"],
    [12, "1024x768"],
    [16, "1024x1024"],
  ])("charges a GIF of %i frames as one image of %s", async (frame_count, sheet) => {
    const common = { model: "gpt-image-2.6-flare", quality: "low" };
    const gif = { ...common, output_format: "gif", size: "256x256", frame_count };
    expect(await tokensOf(gif)).toBe(await tokensOf({ ...common, size: sheet }));
  });

  it.each(["12.5", "-3", "1e30", "0"])("has %s output tokens by a directive", async (tokens) => {
    const prompt = newPrompt(`[upstream tokens=${tokens}]`);
    const { usage } = await generate({ prompt, size: "256x256", n: 2 });
    expect(usage).toMatchObject({
      output_tokens: Number(tokens),
      output_tokens_details: { image_tokens: Number(tokens) },
      total_tokens: usage.input_tokens + Number(tokens),
    });
  });

  it("is absent by a directive, also from a stream", async () => {
    const prompt = newPrompt("[upstream usage=none]");
    expect(await generate({ prompt, size: "256x256" })).not.toHaveProperty("usage");
    expect(await completedEvent({ prompt, size: "256x256" })).not.toHaveProperty("usage");
  });

  it("is zero by a directive", async () => {
    const prompt = newPrompt("[upstream usage=zeros]");
    expect((await generate({ prompt, size: "256x256" })).usage).toEqual({
      input_tokens: 0,
      input_tokens_details: { image_tokens: 0, text_tokens: 0 },
      output_tokens: 0,
      output_tokens_details: { image_tokens: 0, text_tokens: 0 },
      total_tokens: 0,
    });
  });

  it("has numbers only under the names of chat completions by a directive", async () => {
    const prompt = newPrompt("[upstream usage=both tokens=50]");
    const { usage } = await generate({ prompt, size: "256x256" });
    expect(usage).toMatchObject({ input_tokens: 0, output_tokens: 0, completion_tokens: 50 });
    expect(usage).toMatchObject({ prompt_tokens: usage.total_tokens - 50 });
  });

  it.each([
    [undefined, "gpt-5.6-terra"],
    [{ model: "gpt-5.6-luna" }, "gpt-5.6-luna"],
  ])("counts the tokens of an SVG document's author apart: %o", async (svg, model) => {
    const generated = await generate({ output_format: "svg", size: "256x256", svg });
    expect(generated["svg_usage"]).toEqual({
      model,
      input_tokens: 1200,
      output_tokens: 5400,
      reasoning_tokens: 2000,
      total_tokens: 6600,
    });
    expect(await generate({ size: "256x256" })).not.toHaveProperty("svg_usage");
  });
});

describe("the end user of a request to the simulated upstream", () => {
  it.each([
    [{ safety_identifier: "s-1", user: "u-1" }, "s-1"],
    [{ safety_identifier: "", user: "u-1" }, "u-1"],
    [{ user: "" }, undefined],
  ])("is repeated in the JSON body and in the completed event: %o", async (fields, expected) => {
    const generated = await generate({ ...fields, size: "256x256" });
    const completed = await completedEvent({ ...fields, size: "256x256" });
    expect([generated["safety_identifier"], completed["safety_identifier"]]).toEqual([
      expected,
      expected,
    ]);
  });

  it.each(["user", "safety_identifier"])("has at most 64 characters in %s", async (param) => {
    expect((await send({ [param]: "🦊".repeat(64), size: "256x256" })).status).toBe(200);
    expect(await errorOf({ [param]: "x".repeat(65) })).toMatchObject({
      status: 400,
      error: { type: "invalid_request_error", param, code: "string_above_max_length" },
    });
  });

  it("is blocked by a directive, and another one is not", async () => {
    const prompt = newPrompt("[upstream block=user-7]");
    for (const fields of [{ user: "user-7" }, { user: "u", safety_identifier: "user-7" }]) {
      expect(await errorOf({ prompt, ...fields })).toMatchObject({
        status: 400,
        error: { param: null, code: "moderation_blocked", moderation_details: expect.anything() },
      });
    }
    for (const fields of [{}, { user: "user-70" }, { user: "user-7", safety_identifier: "s" }]) {
      expect((await send({ prompt, size: "256x256", ...fields })).status).toBe(200);
    }
  });
});

describe("a parameter of a request to the simulated upstream", () => {
  it("is rejected by a directive, and the request is accepted without it", async () => {
    const prompt = newPrompt("[upstream reject=user]");
    expect(await errorOf({ prompt, user: "u-1" })).toMatchObject({
      status: 400,
      error: { type: "invalid_request_error", param: "user", code: "invalid_value" },
    });
    expect((await send({ prompt, size: "256x256" })).status).toBe(200);
  });
});

describe("the simulated LocalAI", () => {
  const server = startProfile("localai", "stablediffusion");

  it("generates a PNG of 512x512 as a URL and reports a usage of zeros", async () => {
    const response = await server.post({ unknown: "ignored" });
    expect(response.status).toBe(200);
    const { data, usage } = await read<Generated>(response);
    const { format, width, height } = await sharp(await bytesAt(data[0]?.url)).metadata();
    expect({ format, width, height }).toEqual({ format: "png", width: 512, height: 512 });
    expect(usage).toEqual({
      input_tokens: 0,
      input_tokens_details: { image_tokens: 0, text_tokens: 0 },
      output_tokens: 0,
      output_tokens_details: { image_tokens: 0, text_tokens: 0 },
      total_tokens: 0,
    });
  });

  it("generates the requested number of images of the requested size as base64", async () => {
    const body = { n: 2, size: "256x128", response_format: "b64_json", negative_prompt: "x" };
    const generated = await read<Generated>(await server.post(body));
    expect(generated.data).toHaveLength(2);
    const { width, height } = await sharp(bytesOf(generated, 1)).metadata();
    expect({ width, height }).toEqual({ width: 256, height: 128 });
  });

  it("generates another image for another seed", async () => {
    const images = [];
    for (const seed of [1, 2]) {
      const body = { prompt: "one", seed, step: 15, size: "256x256", response_format: "b64_json" };
      images.push(bytesOf(await read<Generated>(await server.post(body))));
    }
    expect(images[0]).not.toEqual(images[1]);
  });

  it("rejects the size auto", async () => {
    const response = await server.post({ size: "auto" });
    expect(response.status).toBe(500);
    expect(await response.json()).toEqual({
      error: { code: 500, message: "invalid value for 'size'", type: "" },
    });
  });

  it("rejects and does not list another model", async () => {
    expect(await server.listed()).toEqual(["stablediffusion"]);
    const response = await server.post({ model: "other" });
    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({
      error: { code: 404, message: 'model "other" not found', type: "" },
    });
  });
});

describe("the simulated xAI", () => {
  const server = startProfile("xai", "grok-imagine-image");

  it("generates a JPEG as a URL", async () => {
    const body = { aspect_ratio: "16:9", resolution: "1k", n: 1, user: "u-1" };
    const response = await server.post(body);
    expect(response.status).toBe(200);
    const { data } = await read<Generated>(response);
    const { format, width, height } = await sharp(await bytesAt(data[0]?.url)).metadata();
    expect({ format, width, height }).toEqual({ format: "jpeg", width: 1024, height: 576 });
  });

  it("generates base64 if the request says so", async () => {
    const generated = await read<Generated>(await server.post({ response_format: "b64_json" }));
    const { format, width, height } = await sharp(bytesOf(generated)).metadata();
    expect({ format, width, height }).toEqual({ format: "jpeg", width: 1024, height: 1024 });
  });

  it.each(["size", "quality", "style", "background", "seed"])("rejects %s", async (name) => {
    const response = await server.post({ [name]: "auto" });
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({
      code: "invalid-argument",
      error: `Argument not supported: ${name}`,
    });
  });

  it("rejects and does not list another model", async () => {
    expect(await server.listed()).toEqual(["grok-imagine-image"]);
    const response = await server.post({ model: "other" });
    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({
      code: "not-found",
      error: "The model other does not exist or your team does not have access to it.",
    });
  });
});

describe("the simulated SGLang", () => {
  const server = startProfile("sglang", "Qwen/Qwen-Image");

  it("generates a JPEG as base64", async () => {
    const extras = { seed: 1, num_inference_steps: 4, negative_prompt: "x" };
    const body = { response_format: "b64_json", size: "256x128", ...extras };
    const response = await server.post(body);
    expect(response.status).toBe(200);
    const generated = await read<Generated>(response);
    const { format, width, height } = await sharp(bytesOf(generated)).metadata();
    expect({ format, width, height }).toEqual({ format: "jpeg", width: 256, height: 128 });
    expect(generated).not.toHaveProperty("usage");
  });

  it.each([{}, { response_format: "url" }])("rejects a request for a URL: %o", async (body) => {
    const response = await server.post(body);
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({ detail: "response_format must be b64_json" });
  });

  it("rejects the size auto", async () => {
    const response = await server.post({ response_format: "b64_json", size: "auto" });
    expect(response.status).toBe(400);
  });

  it("rejects and does not list another model", async () => {
    expect(await server.listed()).toEqual(["Qwen/Qwen-Image"]);
    const response = await server.post({ model: "other" });
    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({ detail: "Model other not found" });
  });
});

describe("the simulated vLLM-Omni", () => {
  const server = startProfile("vllm-omni", "Tongyi-MAI/Z-Image-Turbo");

  it("generates base64 and reports no usage", async () => {
    const extras = { num_inference_steps: 4, guidance_scale: 1.5, negative_prompt: "x" };
    const response = await server.post({ size: "256x128", n: 10, seed: 1, ...extras });
    expect(response.status).toBe(200);
    const generated = await read<Generated>(response);
    expect(Object.keys(generated)).toEqual(["created", "data"]);
    expect(generated.data).toHaveLength(10);
    expect(Object.keys(generated.data[0] ?? {})).toEqual(["b64_json"]);
    expect((await sharp(bytesOf(generated)).metadata()).format).toBe("png");
  });

  it.each([
    [
      { size: "auto" },
      {
        type: "value_error",
        loc: ["body", "size"],
        msg: "Invalid size format: 'auto'. Expected 'WIDTHxHEIGHT'",
        input: "auto",
      },
    ],
    [
      { background: "opaque" },
      {
        type: "extra_forbidden",
        loc: ["body", "background"],
        msg: "Extra inputs are not permitted",
        input: "opaque",
      },
    ],
    [
      { n: 11 },
      {
        type: "less_than_equal",
        loc: ["body", "n"],
        msg: "Input should be less than or equal to 10",
        input: 11,
      },
    ],
  ])("rejects %o in Pydantic's form", async (body, detail) => {
    const response = await server.post(body);
    expect(response.status).toBe(422);
    expect(await response.json()).toEqual({ detail: [detail] });
  });

  it("names every invalid field", async () => {
    const response = await server.post({ n: 0, size: 1, moderation: "low", stream: true });
    const { detail } = await read<{ detail: { loc: string[] }[] }>(response);
    expect(detail.map(({ loc }) => loc[1])).toEqual(["n", "size", "moderation", "stream"]);
  });

  it("rejects and does not list another model", async () => {
    expect(await server.listed()).toEqual(["Tongyi-MAI/Z-Image-Turbo"]);
    const response = await server.post({ model: "other" });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { type: "NotFoundError", code: 404 } });
  });
});

// By default, Node closes a connection after five idle seconds and announces that in each response.
describe.each([
  ["the simulated upstream", startSimulator],
  ["the benchmark's upstream", startUpstream],
])("%s", (_, start) => {
  it("announces no timeout for idle connections", async () => {
    const upstream = await start();
    const { headers } = await fetch(`${upstream.baseUrl}/images/generations`, {
      method: "POST",
      headers: { authorization: "Bearer any" },
      body: JSON.stringify({ model: "gpt-image-2", prompt: newPrompt("small"), n: 1 }),
    });
    const { connection, "keep-alive": keepAlive } = Object.fromEntries(headers);
    expect({ connection, keepAlive }).toEqual({ connection: "keep-alive", keepAlive: undefined });
    await upstream.close();
  });
});

describe("the simulated upstream with OpenAI's clock", () => {
  it("rejects the models that OpenAI has shut down, and does not list them", async () => {
    let now = "2026-11-30T23:59:59Z";
    const openAi = await startSimulator({ openAiClock: () => Date.parse(now) });
    const headers = { authorization: "Bearer sk-any" };
    const statusFor = async (model: string) => {
      const body = JSON.stringify({ model, prompt: "a man walks", size: "256x256" });
      const init = { method: "POST", headers, body };
      return (await fetch(`${openAi.baseUrl}/images/generations`, init)).status;
    };
    const listed = async () => {
      const response = await fetch(`${openAi.baseUrl}/models`, { headers });
      return (await read<{ data: { id: string }[] }>(response)).data.map(({ id }) => id);
    };
    expect([await statusFor("gpt-image-1"), await statusFor("gpt-image-1.5")]).toEqual([404, 200]);
    expect(await listed()).toContain("gpt-image-1.5");
    now = "2026-12-01T00:00:00Z";
    expect([await statusFor("gpt-image-1.5"), await statusFor("gpt-image-2.6-flare")]).toEqual([
      404, 200,
    ]);
    expect(await listed()).not.toContain("gpt-image-1.5");
    await openAi.close();
  });
});
