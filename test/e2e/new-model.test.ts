import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { ADMIN_KEY } from "../support/gateway.ts";
import { read, stage } from "../support/stage.ts";
import { newPrompt } from "../support/bodies.ts";

/** A model of next year, an old name for it, and what it costs: three variables, and no code. */
const theStage = stage({
  MODELS: "gpt-image-9,dall-e-2",
  MODEL_ALIASES: "gpt-image-1.5=gpt-image-9",
  PRICES: '{"gpt-image-9": {"text_in": 1, "image_in": 2, "image_out": 10}}',
  DEFAULT_MODEL: "gpt-image-9",
});

interface Model {
  id: string;
  default: boolean;
  qualities: string[];
  price: Record<string, number>;
}

function client() {
  return new OpenAI({ apiKey: "any", baseURL: `${theStage.gateway.url}/v1` });
}

describe("a model that is added by variables alone", () => {
  it("is listed with its price, before the table knows it", async () => {
    const response = await fetch(`${theStage.gateway.url}/v1/models`);
    const { data } = await read<{ data: Model[] }>(response);
    expect(data.map(({ id }) => id)).toEqual(["gpt-image-9", "dall-e-2", "gpt-image-1.5"]);
    expect(data[0]).toMatchObject({
      default: true,
      price: { text_in: 1, image_in: 2, image_out: 10 },
    });
    expect(data[0]?.qualities).toContain("max");
  });

  it("makes pictures for the SDK, in what the newest models take", async () => {
    const prompt = newPrompt();
    const { data } = await client().images.generate({
      prompt,
      model: "gpt-image-9",
      size: "1280x720",
    });
    expect(data?.[0]?.b64_json).toMatch(/^iVBOR/);
    const [sent] = theStage.upstream.received(prompt);
    expect(sent?.body).toMatchObject({ model: "gpt-image-9", size: "1280x720" });
  });

  it("answers to its old name, and is one picture under both", async () => {
    const prompt = newPrompt();
    const old = await theStage.post({ prompt, model: "gpt-image-1.5", response_format: "url" });
    const now = await theStage.post({ prompt, response_format: "url" });
    expect([old.status, now.status]).toEqual([200, 200]);
    expect((await read(old)).id).toBe((await read(now)).id);
    expect(theStage.upstream.received(prompt)).toHaveLength(1);
    expect(theStage.upstream.received(prompt)[0]?.body["model"]).toBe("gpt-image-9");
  });

  it("is booked at its own price", async () => {
    const prompt = newPrompt();
    const { usage } = await read(await theStage.post({ prompt, response_format: "url" }));
    const spent = async () => {
      const response = await fetch(`${theStage.gateway.url}/v1/usage`, {
        headers: { authorization: `Bearer ${ADMIN_KEY}` },
      });
      const { days } = await read<{ days: { spent_usd: number; images: number }[] }>(response);
      return days[0];
    };
    const booked = await spent();
    const output = Number(usage["output_tokens"]);
    expect(output).toBeGreaterThan(0);
    expect(Number(booked?.spent_usd)).toBeGreaterThan((output * 10) / 1e6);
    expect(Number(booked?.spent_usd)).toBeLessThan((Number(booked?.images) * output * 32) / 1e6);
  });

  it("leaves no other model served", async () => {
    const response = await theStage.post({ prompt: newPrompt(), model: "gpt-image-2" });
    expect(response.status).toBe(400);
  });
});
