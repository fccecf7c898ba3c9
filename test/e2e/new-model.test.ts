import { describe, expect, it } from "vitest";
import { openAiAt } from "../support/openai.ts";
import { read, startStage, usageToday } from "../support/stage.ts";
import { newPrompt } from "../support/bodies.ts";

/** A model that the code does not know, an alias for it and its price, set by variables alone. */
const stage = startStage({
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

describe("a model that is added by variables alone", () => {
  it("is listed as the default with its price and the newest qualities", async () => {
    const response = await fetch(`${stage.gateway.url}/v1/models`);
    const { data } = await read<{ data: Model[] }>(response);
    expect(data.map(({ id }) => id)).toEqual(["gpt-image-9", "dall-e-2", "gpt-image-1.5"]);
    expect(data[0]).toMatchObject({
      default: true,
      price: { text_in: 1, image_in: 2, image_out: 10 },
    });
    expect(data[0]?.qualities).toContain("max");
  });

  it("generates images for the SDK in a size of the newest models", async () => {
    const prompt = newPrompt();
    const { data } = await openAiAt(stage).images.generate({
      prompt,
      model: "gpt-image-9",
      size: "1280x720",
    });
    expect(data?.[0]?.b64_json).toMatch(/^iVBOR/);
    const [sent] = stage.upstream.received(prompt);
    expect(sent?.body).toMatchObject({ model: "gpt-image-9", size: "1280x720" });
  });

  it("shares one generation with its alias", async () => {
    const prompt = newPrompt();
    const aliased = await stage.post({ prompt, model: "gpt-image-1.5", response_format: "url" });
    const current = await stage.post({ prompt, response_format: "url" });
    expect([aliased.status, current.status]).toEqual([200, 200]);
    expect((await read(aliased)).id).toBe((await read(current)).id);
    expect(stage.upstream.received(prompt)).toHaveLength(1);
    expect(stage.upstream.received(prompt)[0]?.body["model"]).toBe("gpt-image-9");
  });

  it("is charged at its own price", async () => {
    const prompt = newPrompt();
    const { usage } = await read(await stage.post({ prompt, response_format: "url" }));
    const charged = await usageToday(stage);
    const output = Number(usage["output_tokens"]);
    expect(output).toBeGreaterThan(0);
    expect(Number(charged?.spent_usd)).toBeGreaterThan((output * 10) / 1e6);
    expect(Number(charged?.spent_usd)).toBeLessThan((Number(charged?.images) * output * 32) / 1e6);
  });

  it("does not make another known model available", async () => {
    const response = await stage.post({ prompt: newPrompt(), model: "gpt-image-2" });
    expect(response.status).toBe(400);
  });
});
