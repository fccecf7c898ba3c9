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

interface Made {
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

async function make(body: object): Promise<Made> {
  return (await (await send(body)).json()) as Made;
}

function bytesOf(made: Made, index = 0): Buffer {
  return Buffer.from(String(made.data[index]?.b64_json), "base64");
}

describe("the simulated upstream", () => {
  it.each([
    ["1024x1024", { low: 272, medium: 1056, high: 4160, auto: 4160 }],
    ["1024x1536", { low: 408, medium: 1584, high: 6240 }],
    ["1536x1024", { low: 400, medium: 1568, high: 6208 }],
  ])("counts tokens as OpenAI's table does: %s", async (size, table) => {
    for (const [quality, tokens] of Object.entries(table)) {
      const { usage } = await make({ prompt: "one", size, quality, n: 2 });
      expect(usage.output_tokens).toBe(2 * tokens);
      expect(usage.total_tokens).toBe(usage.input_tokens + usage.output_tokens);
    }
  });

  it.each([
    ["png", "256x512"],
    ["jpeg", "1536x1024"],
    ["webp", "1024x1024"],
  ])("paints a real picture: %s, %s", async (format, size) => {
    const made = await make({ output_format: format, size });
    const { format: painted, width, height } = await sharp(bytesOf(made)).metadata();
    expect({ painted, size: `${width}x${height}` }).toEqual({ painted: format, size });
    const { channels } = await sharp(bytesOf(made)).stats();
    expect(channels.some((channel) => channel.stdev > 5)).toBe(true);
  });

  it("writes the prompt on it, so that two prompts look different", async () => {
    const [one, same, other] = [
      await make({ prompt: "one", size: "256x256" }),
      await make({ prompt: "one", size: "256x256" }),
      await make({ prompt: "two", size: "256x256" }),
    ];
    expect(bytesOf(one)).toEqual(bytesOf(same));
    expect(bytesOf(one)).not.toEqual(bytesOf(other));
  });

  it("takes any prompt", async () => {
    for (const prompt of ["<b>&amp;", "\u0000\u0007", "🦊\ud83e", " ", "é".repeat(1000)]) {
      const made = await make({ prompt, size: "256x256" });
      expect((await sharp(bytesOf(made)).metadata()).format).toBe("png");
    }
  });

  it("knows transparency and compression", async () => {
    const clear = await make({ background: "transparent", size: "256x256" });
    expect((await sharp(bytesOf(clear)).stats()).isOpaque).toBe(false);
    const opaque = await make({ size: "256x256" });
    expect((await sharp(bytesOf(opaque)).stats()).isOpaque).toBe(true);

    const prompt = newPrompt();
    const jpeg = (output_compression: number) =>
      make({ prompt, output_format: "jpeg", output_compression, size: "1024x1024" });
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

  it("wants a key, as the real one does", async () => {
    expect((await send({}, {})).status).toBe(401);
  });

  it("misbehaves as often as it is told, and no longer", async () => {
    const prompt = newPrompt("[upstream status=503 times=2]");
    const statuses = [];
    for (let round = 0; round < 3; round += 1) {
      statuses.push((await send({ prompt, size: "256x256" })).status);
    }
    expect(statuses).toEqual([503, 503, 200]);
  });
});

// Node's default closes a connection that was idle for five seconds, and announces that in each response.
describe.each([
  ["the simulated upstream", startSimulator],
  ["the benchmark's upstream", startUpstream],
])("%s", (_, start) => {
  it("keeps idle connections open until it is closed itself", async () => {
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

describe("as OpenAI, on a day", () => {
  it("refuses the models that OpenAI has shut down, and does not list them", async () => {
    let now = "2026-11-30T23:59:59Z";
    const openAi = await startSimulator({ openAiClock: () => Date.parse(now) });
    const headers = { authorization: "Bearer sk-any" };
    const asked = async (model: string) => {
      const body = JSON.stringify({ model, prompt: "a man walks", size: "256x256" });
      const init = { method: "POST", headers, body };
      return (await fetch(`${openAi.baseUrl}/images/generations`, init)).status;
    };
    const listed = async () => {
      const response = await fetch(`${openAi.baseUrl}/models`, { headers });
      return (await read<{ data: { id: string }[] }>(response)).data.map(({ id }) => id);
    };
    expect([await asked("gpt-image-1"), await asked("gpt-image-1.5")]).toEqual([404, 200]);
    expect(await listed()).toContain("gpt-image-1.5");
    now = "2026-12-01T00:00:00Z";
    expect([await asked("gpt-image-1.5"), await asked("gpt-image-2.6-flare")]).toEqual([404, 200]);
    expect(await listed()).not.toContain("gpt-image-1.5");
    await openAi.close();
  });
});
