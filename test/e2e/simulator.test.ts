import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startUpstream } from "../bench/upstream.ts";
import { startSimulator, type Simulator } from "../support/upstream/simulator.ts";
import { read } from "../support/stage.ts";
import { newPrompt } from "../support/bodies.ts";

let simulator: Simulator;

beforeAll(async () => {
  simulator = await startSimulator();
});
afterAll(() => simulator.close());

interface Generated {
  data: { b64_json: string }[];
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
