import { describe, expect, it } from "vitest";
import { newPrompt } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { IGU, IRE } from "../support/failures.ts";
import { metadataOf, openAiAt } from "../support/openai.ts";
import { read, startStage, usageToday, type ErrorBody, type Stage } from "../support/stage.ts";
import { PROFILES } from "../support/upstream/profiles.ts";

/** Returns the bodies that the upstream received with a prompt, oldest first. */
function sentBodies({ upstream }: Stage, prompt: string): object[] {
  return upstream.received(prompt).map(({ body }) => body);
}

/** Returns the status and the error of a request, and the number of its upstream calls. */
async function errorOf(stage: Stage, body: object) {
  const prompt = newPrompt();
  const response = await stage.post({ prompt, ...body });
  const { type, param, code } = (await read<ErrorBody>(response)).error;
  return { status: response.status, type, param, code, calls: stage.calls(prompt) };
}

describe("a gateway for LocalAI", () => {
  const { model } = PROFILES.localai;
  const stage = startStage(
    {
      MODELS: model,
      DEFAULT_MODEL: model,
      EXTRA_PARAMETERS: "seed,negative_prompt,step",
      PRICES: JSON.stringify({ [model]: { per_image: 0 } }),
    },
    { profile: "localai" },
  );

  it("generates another image for another seed, and returns the cached one for the same seed", async () => {
    const prompt = newPrompt();
    const generate = async (seed: number) => {
      const body = { prompt, size: "512x512", seed } as const;
      const { data, response } = await openAiAt(stage).images.generate(body).withResponse();
      const cacheStatus = response.headers.get("cache-status");
      return { image: data.data?.[0], isHit: cacheStatus?.startsWith("darkroom; hit") };
    };
    const [first, other, again] = [await generate(1), await generate(2), await generate(1)];
    expect(await metadataOf(first.image)).toMatchObject({ width: 512, height: 512 });
    expect(other.image?.b64_json).not.toBe(first.image?.b64_json);
    expect(again.image?.b64_json).toBe(first.image?.b64_json);
    expect([first.isHit, other.isHit, again.isHit]).toEqual([false, false, true]);
    expect(sentBodies(stage, prompt)).toEqual(
      [1, 2].map((seed) => ({ model, prompt, n: 1, size: "512x512", seed })),
    );
  });

  it("sends no size if the client sends none", async () => {
    const prompt = newPrompt();
    const { data } = await openAiAt(stage).images.generate({ prompt });
    const { width, height } = PROFILES.localai.defaultSize({});
    expect(await metadataOf(data?.[0])).toMatchObject({ format: "png", width, height });
    expect(sentBodies(stage, prompt)).toEqual([{ model, prompt, n: 1 }]);
  });

  it("spends nothing at a price of 0", async () => {
    await openAiAt(stage).images.generate({ prompt: newPrompt(), n: 2 });
    const usage = await eventually(async () => {
      const usage = await usageToday(stage);
      expect(usage?.images).toBeGreaterThan(1);
      return usage;
    });
    expect(usage?.spent_usd).toBe(0);
  });

  it.each([
    ["an array", [], "invalid_type"],
    ["an object", {}, "invalid_type"],
    ["a text of 4001 characters", "x".repeat(4001), "string_above_max_length"],
    ["a number past 2^53, which JSON rounds", 2 ** 53, "integer_above_max_value"],
  ])("rejects an extra parameter that is %s", async (_, step, code) => {
    expect(await errorOf(stage, { step })).toEqual({
      status: 400,
      type: IRE,
      param: "step",
      code,
      calls: 0,
    });
  });

  it("rejects a parameter that EXTRA_PARAMETERS does not name", async () => {
    expect(await errorOf(stage, { steps: 4 })).toMatchObject({
      status: 400,
      param: "steps",
      code: "unknown_parameter",
      calls: 0,
    });
  });

  it("sends an extra text of 4000 characters, and no extra parameter that is null", async () => {
    const body = { prompt: newPrompt(), size: "64x64", negative_prompt: "x".repeat(4000) };
    expect((await stage.post({ ...body, seed: null })).status).toBe(200);
    expect(sentBodies(stage, body.prompt)).toEqual([{ ...body, model, n: 1 }]);
  });
});

describe("a gateway for xAI", () => {
  const { model } = PROFILES.xai;
  const stage = startStage({ MODELS: model }, { profile: "xai" });

  it.each([
    ["omits", {}],
    [
      "writes out",
      {
        size: "auto",
        quality: "auto",
        background: "auto",
        output_format: "png",
        moderation: "auto",
        style: "vivid",
        stream: false,
      } as const,
    ],
  ])("sends only model, prompt and n if the client %s the defaults", async (_, defaults) => {
    const prompt = newPrompt();
    const { data } = await openAiAt(stage).images.generate({ prompt, model, ...defaults });
    expect(await metadataOf(data?.[0])).toMatchObject({ format: "jpeg" });
    expect(sentBodies(stage, prompt)).toEqual([{ model, prompt, n: 1 }]);
  });

  it.each(["image/*", "image/jpeg", "image/webp", "image/avif,image/*,*/*;q=0.8"])(
    "returns the image to Accept: %s without sending an output format",
    async (accept) => {
      const prompt = newPrompt();
      const image = await stage.post({ prompt, model }, { accept });
      expect([image.status, image.headers.get("content-type")]).toEqual([200, "image/jpeg"]);
      expect(sentBodies(stage, prompt)).toEqual([{ model, prompt, n: 1 }]);
    },
  );

  it("rejects an accepted image type other than the output format that the client sends", async () => {
    const prompt = newPrompt();
    const body = { prompt, model, output_format: "webp" };
    const response = await stage.post(body, { accept: "image/jpeg" });
    expect([response.status, stage.calls(prompt)]).toEqual([406, 0]);
  });

  it("serves a JPEG as image/jpeg, although the default output format is png", async () => {
    const body = { prompt: newPrompt(), model };
    const image = await stage.post(body, { accept: "image/*" });
    const { data } = await read(await stage.post({ ...body, response_format: "url" }));
    const file = await fetch(String(data[0]?.url));
    const types = [image, file].map(({ headers }) => headers.get("content-type"));
    expect(types).toEqual(["image/jpeg", "image/jpeg"]);
    expect(data[0]?.url).toMatch(/\.jpeg$/);
  });
});

describe("a gateway for SGLang", () => {
  const { model } = PROFILES.sglang;
  const stage = startStage({ MODELS: model, SEND_RESPONSE_FORMAT: model }, { profile: "sglang" });
  const withoutFormat = startStage({ MODELS: model }, { profile: "sglang" });

  it("generates an image with SEND_RESPONSE_FORMAT", async () => {
    const { data } = await openAiAt(stage).images.generate({ prompt: newPrompt(), model });
    expect(await metadataOf(data?.[0])).toMatchObject({ format: "jpeg" });
  });

  it("forwards the upstream's 400 without SEND_RESPONSE_FORMAT", async () => {
    expect(await errorOf(withoutFormat, { model })).toMatchObject({ status: 400, calls: 1 });
  });
});

describe("a gateway for vLLM-Omni", () => {
  const { model } = PROFILES["vllm-omni"];
  const stage = startStage(
    { MODELS: model, EXTRA_PARAMETERS: "seed,guidance_scale" },
    { profile: "vllm-omni" },
  );

  it.each([{}, { size: "auto" } as const])(
    "sends the extra parameters and no size for %o",
    async (size) => {
      const extras = { seed: 7, guidance_scale: 1.5 };
      const body = { prompt: newPrompt(), model, ...extras, ...size };
      const { data } = await openAiAt(stage).images.generate(body);
      expect(await metadataOf(data?.[0])).toMatchObject({ format: "png" });
      expect(sentBodies(stage, body.prompt)).toEqual([
        { prompt: body.prompt, model, n: 1, ...extras },
      ]);
    },
  );

  it("forwards any word as quality, and the upstream's response to it", async () => {
    const prompt = newPrompt();
    const body = { prompt, model, quality: "some_word" };
    expect((await stage.post(body)).status).toBe(422);
    expect(sentBodies(stage, prompt)).toEqual([{ ...body, n: 1 }]);
  });

  it("rejects a quality that is no word", async () => {
    expect(await errorOf(stage, { model, quality: "no spaces allowed!" })).toEqual({
      status: 400,
      type: IRE,
      param: "quality",
      code: "invalid_value",
      calls: 0,
    });
  });

  it.each(["63x64", "8193x64"])("rejects the size %s", async (size) => {
    expect(await errorOf(stage, { model, size })).toEqual({
      status: 400,
      type: IGU,
      param: "size",
      code: "invalid_value",
      calls: 0,
    });
  });

  it.each([
    [64, 64],
    [8192, 64],
  ])("generates an image of %ix%i", async (width, height) => {
    const prompt = newPrompt();
    const size = `${width}x${height}`;
    const { data } = await openAiAt(stage).images.generate({ prompt, model, size });
    expect(await metadataOf(data?.[0])).toMatchObject({ width, height });
  });
});

describe("a gateway with UPSTREAM_REQUIRES", () => {
  const stage = startStage({ UPSTREAM_REQUIRES: "size,quality" });

  it("sends the defaults that it names", async () => {
    const body = { prompt: newPrompt(), model: "gpt-image-2", n: 1 };
    const { data } = await openAiAt(stage).images.generate(body);
    expect(await metadataOf(data?.[0])).toMatchObject({ format: "png" });
    expect(sentBodies(stage, body.prompt)).toEqual([{ ...body, size: "auto", quality: "auto" }]);
  });
});
