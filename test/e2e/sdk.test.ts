import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { metadataOf, openAiAt, sdkErrorOf } from "../support/openai.ts";
import { startStage } from "../support/stage.ts";
import { newPrompt } from "../support/bodies.ts";

const stage = startStage();

describe("the official SDK with only its base URL changed", () => {
  it("receives an image for a prompt alone", async () => {
    const { data, usage } = await openAiAt(stage).images.generate({ prompt: newPrompt() });
    expect(await metadataOf(data?.[0])).toMatchObject({ format: "png", width: 1024, height: 1024 });
    expect(usage?.output_tokens).toBe(4160);
  });

  it("receives several images in the requested format", async () => {
    const response = await openAiAt(stage).images.generate({
      prompt: newPrompt(),
      model: "gpt-image-1.5",
      n: 3,
      size: "1536x1024",
      quality: "low",
      background: "transparent",
      output_format: "webp",
      output_compression: 60,
    });
    expect(response).toMatchObject({
      background: "transparent",
      output_format: "webp",
      quality: "low",
      size: "1536x1024",
    });
    expect(response.data).toHaveLength(3);
    for (const item of response.data ?? []) {
      expect(await metadataOf(item)).toMatchObject({
        format: "webp",
        width: 1536,
        height: 1024,
        hasAlpha: true,
      });
    }
  });

  it.each(["gpt-image-1.5", "gpt-image-2", "dall-e-2", "dall-e-3"])(
    "receives a working URL from %s",
    async (model) => {
      const { data } = await openAiAt(stage).images.generate({
        prompt: newPrompt(),
        model,
        response_format: "url",
      });
      expect(data?.[0]?.b64_json).toBeUndefined();
      expect(await metadataOf(data?.[0])).toMatchObject({
        format: "png",
        width: 1024,
        height: 1024,
      });
    },
  );

  it("receives the revised prompt of dall-e-3 on a miss and on a hit", async () => {
    const prompt = newPrompt();
    for (let round = 0; round < 2; round += 1) {
      const { data } = await openAiAt(stage).images.generate({ prompt, model: "dall-e-3" });
      expect(data?.[0]?.revised_prompt).toBe(`An image of: ${prompt}`);
    }
    expect(stage.upstream.received(prompt)).toHaveLength(1);
  });

  it("lists the models and retrieves one", async () => {
    const ids = [];
    for await (const model of openAiAt(stage).models.list()) ids.push(model.id);
    expect(ids).toContain("gpt-image-1.5");
    expect(await openAiAt(stage).models.retrieve("dall-e-3")).toMatchObject({ id: "dall-e-3" });
  });
});

describe("an error response in the SDK", () => {
  it.each([
    [{ prompt: "" }, OpenAI.BadRequestError, "prompt", "empty_string"],
    [{ prompt: "x".repeat(1001) }, OpenAI.BadRequestError, "prompt", "string_above_max_length"],
    [{ prompt: "a", n: 11 }, OpenAI.BadRequestError, "n", "integer_above_max_value"],
    [{ prompt: "a", size: "256x256" as const }, OpenAI.BadRequestError, "size", "invalid_value"],
    [{ prompt: "a", model: "gpt-5" }, OpenAI.BadRequestError, "model", "invalid_value"],
  ])("is thrown as a BadRequestError for %o", async (body, type, param, code) => {
    const error = await sdkErrorOf(openAiAt(stage).images.generate(body));
    expect(error).toBeInstanceOf(type);
    expect(error).toMatchObject({
      param,
      code,
      requestID: expect.stringMatching(/^req_/) as string,
    });
  });

  it("carries the moderation details of a moderation block", async () => {
    const prompt = newPrompt("[upstream status=400 code=moderation_blocked]");
    const error = await sdkErrorOf(openAiAt(stage).images.generate({ prompt }));
    expect(error).toMatchObject({ status: 400, code: "moderation_blocked" });
    expect(error.type).toBe("image_generation_user_error");
    expect(error.error).toMatchObject({ moderation_details: { categories: ["violence"] } });
  });

  it("is thrown as a NotFoundError for an unknown model", async () => {
    const error = await sdkErrorOf(openAiAt(stage).models.retrieve("gpt-5"));
    expect(error).toBeInstanceOf(OpenAI.NotFoundError);
  });
});

describe("a 503 of the upstream", () => {
  it("is retried by the gateway, unseen by the SDK", async () => {
    const prompt = newPrompt("[upstream status=503 times=2]");
    const { data } = await openAiAt(stage, { maxRetries: 0 }).images.generate({ prompt });
    expect(data).toHaveLength(1);
    expect(stage.upstream.received(prompt)).toHaveLength(3);
  });
});
