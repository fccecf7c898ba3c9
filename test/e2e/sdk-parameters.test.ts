import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { newPrompt } from "../support/bodies.ts";
import { metadataOf, openAiAt, sdkErrorOf } from "../support/openai.ts";
import { startStage, type GenerationBody } from "../support/stage.ts";

const SVG_MODEL = "gpt-5.6-terra";
const MODEL = "gpt-image-2.6-flare";

const stage = startStage({
  SVG_MODELS: JSON.stringify({ [SVG_MODEL]: { text_in: 2, text_out: 12, max_tokens: 30_000 } }),
});

const DALL_E_3 = {
  prompt: newPrompt(),
  model: "dall-e-3",
  style: "natural",
  quality: "hd",
  response_format: "url",
  user: "user-1",
} satisfies OpenAI.ImageGenerateParams;

const PNG = {
  prompt: newPrompt(),
  model: "gpt-image-2.6-sunburst",
  n: 2,
  size: "1024x640",
  quality: "auto",
  background: "transparent",
  output_format: "png",
  moderation: "low",
  complexity: "high",
  safety_identifier: "safety-1",
  user: "user-1",
} satisfies OpenAI.ImageGenerateParams;

const WEBP = {
  prompt: newPrompt(),
  model: MODEL,
  size: "640x1024",
  quality: "max",
  background: "opaque",
  output_format: "webp",
  output_compression: 40,
  moderation: "auto",
} satisfies OpenAI.ImageGenerateParams;

const GIF = {
  prompt: newPrompt(),
  model: MODEL,
  size: "320x320",
  output_format: "gif",
  frame_count: 4,
  frame_duration_ms: 120,
  partial_images: 0,
} satisfies OpenAI.ImageGenerateParams;

const SVG = {
  prompt: newPrompt(),
  model: MODEL,
  size: "1024x1024",
  output_format: "svg",
  svg: { model: SVG_MODEL, reasoning: { effort: "high" } },
  stream: false,
} satisfies OpenAI.ImageGenerateParams;

const STREAM = {
  prompt: newPrompt(),
  model: MODEL,
  size: "1024x640",
  stream: true,
  partial_images: 2,
  safety_identifier: "safety-2",
} satisfies OpenAI.ImageGenerateParams;

/** The names of the fields of a type, and the paths of those in its objects, such as `svg.model`. */
type FieldOf<T> = T extends string
  ? never
  : T extends object
    ? { [K in keyof T & string]-?: K | `${K}.${FieldOf<T[K]>}` }[keyof T & string]
    : never;

type Sent = typeof DALL_E_3 | typeof PNG | typeof WEBP | typeof GIF | typeof SVG | typeof STREAM;

/** The requests with one JSON response, and the fields that the upstream does not receive as they are. */
const REQUESTS: [
  name: string,
  request: OpenAI.Images.ImageGenerateParamsNonStreaming,
  defaults: string[],
  more: object,
][] = [
  // dall-e requires `size`. Base64 saves a download.
  ["dall-e-3", DALL_E_3, [], { size: "1024x1024", response_format: "b64_json" }],
  ["a PNG", PNG, ["quality", "output_format"], {}],
  ["a WebP", WEBP, ["moderation"], {}],
  ["a GIF", GIF, ["partial_images"], {}],
  ["an SVG", SVG, ["stream"], {}],
];

/** The fields that the SDK declares, as a GPT image model's response to a request has them. */
function declaredFields(request: OpenAI.ImageGenerateParams) {
  const { background, output_format, quality, safety_identifier, size, user, svg } = request;
  const count = expect.any(Number) as number;
  const details = { image_tokens: count, text_tokens: count };
  return {
    created: count,
    background: background === "transparent" ? "transparent" : "opaque",
    data: Array.from({ length: request.n ?? 1 }, () => ({
      b64_json: expect.any(String) as string,
    })),
    output_format: output_format ?? "png",
    // What the simulator chooses for `auto`.
    quality: quality === "max" ? quality : "high",
    safety_identifier: safety_identifier ?? user,
    size,
    svg_usage:
      svg === undefined
        ? undefined
        : ({
            model: svg?.model,
            input_tokens: count,
            output_tokens: count,
            reasoning_tokens: count,
            total_tokens: count,
          } satisfies Record<keyof OpenAI.ImagesResponse.SvgUsage, unknown>),
    usage: expect.objectContaining({
      input_tokens: count,
      input_tokens_details: details,
      output_tokens: count,
      output_tokens_details: details,
      total_tokens: count,
    } satisfies Record<keyof OpenAI.ImagesResponse.Usage, unknown>) as unknown,
  } satisfies Record<keyof OpenAI.ImagesResponse, unknown>;
}

/** Returns the fields of an object that another one has too. */
function only(object: object, like: object) {
  return Object.fromEntries(Object.entries(object).filter(([name]) => name in like));
}

/** Returns the events of a stream. */
async function eventsOf(request: OpenAI.Images.ImageGenerateParamsStreaming) {
  const events: OpenAI.ImageGenStreamEvent[] = [];
  for await (const event of await openAiAt(stage).images.generate(request)) events.push(event);
  return events;
}

/** Returns the identifier that the response to a request repeats. */
async function repeatedIdentifier(
  request: OpenAI.Images.ImageGenerateParamsNonStreaming,
): Promise<unknown> {
  return (await openAiAt(stage).images.generate(request)).safety_identifier;
}

describe("a request of the SDK", () => {
  it("may have every field of ImageGenerateParams, because each is in a request of this file", () => {
    // Does not compile, and names the field, if the SDK's type has one that no request has.
    const missing: Exclude<FieldOf<OpenAI.ImageGenerateParams>, FieldOf<Sent>>[] = [];
    expect(missing satisfies never[]).toEqual([]);
  });

  it.each(REQUESTS)(
    "sends the upstream exactly the fields that are not at their defaults: %s",
    async (_, request, defaults, more) => {
      await openAiAt(stage).images.generate(request);
      const sent = Object.entries(request).filter(([name]) => !defaults.includes(name));
      expect(stage.upstream.received(request.prompt).map(({ body }) => body)).toEqual([
        { n: 1, ...Object.fromEntries(sent), ...more },
      ]);
    },
  );

  it.each(REQUESTS)("receives the image that it describes: %s", async (_, request) => {
    const { size, output_format, frame_count, frame_duration_ms } = request;
    const { data = [] } = await openAiAt(stage).images.generate(request);
    expect(data).toHaveLength(request.n ?? 1);
    for (const image of data) {
      const { width, height, format, pages, delay } = await metadataOf(image);
      expect(`${width}x${height}`).toBe(size ?? "1024x1024");
      expect(format).toBe(output_format ?? "png");
      if (frame_count === undefined) continue;
      expect(pages).toBe(frame_count);
      expect(new Set(delay)).toEqual(new Set([frame_duration_ms]));
    }
  });

  it.each(REQUESTS.filter(([, { model }]) => model !== "dall-e-3"))(
    "receives every field of ImagesResponse: %s",
    async (_, request) => {
      const response = await openAiAt(stage).images.generate(request);
      const declared = declaredFields(request);
      expect(only(response, declared)).toEqual(declared);
    },
  );

  it("receives the usage of dall-e-3 as zeros, because the upstream reports none", async () => {
    const { usage } = await openAiAt(stage).images.generate(DALL_E_3);
    expect(usage).toMatchObject({
      input_tokens: 0,
      input_tokens_details: { image_tokens: 0, text_tokens: 0 },
      output_tokens: 0,
      total_tokens: 0,
    });
  });
});

describe("a stream of the SDK", () => {
  it("sends the upstream exactly the fields that are not at their defaults", async () => {
    await eventsOf(STREAM);
    expect(stage.upstream.received(STREAM.prompt).map(({ body }) => body)).toEqual([
      { ...STREAM, n: 1 },
    ]);
  });

  it("receives the partial images, then every field of ImageGenCompletedEvent", async () => {
    const events = await eventsOf({ ...STREAM, prompt: newPrompt() });
    const partials = events.slice(0, -1);
    expect(partials.map(({ type }) => type)).toEqual(
      Array.from({ length: STREAM.partial_images }, () => "image_generation.partial_image"),
    );
    const { data, created, svg_usage: _, ...declared } = declaredFields(STREAM);
    const [image] = data;
    expect(events.at(-1)).toEqual({
      ...declared,
      type: "image_generation.completed",
      created_at: created,
      b64_json: image?.b64_json,
    } satisfies Record<keyof OpenAI.ImageGenCompletedEvent, unknown>);
  });
});

describe("the identifier of an end user", () => {
  const body = { model: "gpt-image-2", size: "1024x640", quality: "low" } as const;

  it.each([
    { safety_identifier: "safety", user: "user" },
    { user: "user" },
    { safety_identifier: "", user: "user" },
  ])("is in the JSON of its sender only: %o", async (identifiers) => {
    const request = { ...body, prompt: newPrompt() };
    const effective = Object.values(identifiers).find((value) => value !== "");
    expect(await repeatedIdentifier({ ...request, ...identifiers })).toBe(effective);
    expect(await repeatedIdentifier(request)).toBeUndefined();
    expect(await repeatedIdentifier({ ...request, user: "another" })).toBe("another");
    expect(stage.calls(request.prompt)).toBe(1);
  });

  it("is in the completed event of its sender only", async () => {
    const request = { ...body, prompt: newPrompt(), stream: true } as const;
    const [own] = await eventsOf({ ...request, safety_identifier: "safety" });
    const [other] = await eventsOf(request);
    expect(own).toMatchObject({ type: "image_generation.completed", safety_identifier: "safety" });
    expect(other).toMatchObject({ type: "image_generation.completed" });
    expect(other).not.toHaveProperty("safety_identifier");
    expect(stage.calls(request.prompt)).toBe(1);
  });

  it("is not in the response of a lookup by id", async () => {
    const client = openAiAt(stage);
    const request = { ...body, prompt: newPrompt(), safety_identifier: "safety" };
    const { id } = await client.post<GenerationBody>("/images/generations", { body: request });
    const found = await client.get<GenerationBody>(`/images/generations/${id}`);
    expect(found.id).toBe(id);
    expect(JSON.stringify(found)).not.toContain(request.safety_identifier);
  });

  it.each(["user", "safety_identifier"])("has at most 64 characters in %s", async (param) => {
    const request = { ...body, prompt: newPrompt() };
    const error = await sdkErrorOf(
      openAiAt(stage).images.generate({ ...request, [param]: "x".repeat(65) }),
    );
    expect(error).toBeInstanceOf(OpenAI.BadRequestError);
    expect(error).toMatchObject({ code: "string_above_max_length", param });
    expect(stage.calls(request.prompt)).toBe(0);
    const longest = "🦊".repeat(64);
    expect(await repeatedIdentifier({ ...request, [param]: longest })).toBe(longest);
    expect(stage.upstream.received(request.prompt)[0]?.body[param]).toBe(longest);
  });

  it("is absent if it is empty", async () => {
    const request = { ...body, prompt: newPrompt() };
    const identifiers = { user: "", safety_identifier: "" };
    expect(await repeatedIdentifier({ ...request, ...identifiers })).toBeUndefined();
    expect(stage.upstream.received(request.prompt)[0]?.body).toEqual({ ...request, n: 1 });
  });
});
