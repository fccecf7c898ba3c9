import { createParser } from "eventsource-parser";
import OpenAI from "openai";
import { afterEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { expectCleanLogs, keysOf, WISH } from "../support/expect-fault.ts";
import { read, stage, type ErrorAnswer } from "../support/stage.ts";
import { newPrompt, STREAM } from "../support/bodies.ts";

const theStage = stage();
const { calls } = theStage;

interface ImageEvent {
  type: string;
  b64_json?: string;
  url?: string;
  partial_image_index?: number;
  error?: ErrorAnswer["error"];
  [name: string]: unknown;
}

interface Streamed {
  response: Response;
  events: ImageEvent[];
}

/** Reads a whole event stream; every event's name must be its type. */
async function stream(body: object): Promise<Streamed> {
  const response = await theStage.post({ ...STREAM, ...body });
  const events: ImageEvent[] = [];
  const parser = createParser({
    onEvent: ({ event, data }) => {
      const parsed = JSON.parse(data) as ImageEvent;
      expect(parsed.type).toBe(event);
      events.push(parsed);
    },
  });
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    parser.feed(chunk);
  }
  return { response, events };
}

function types({ events }: Streamed): string[] {
  return events.map((event) => event.type.replace("image_generation.", ""));
}

/** What is kept, once the last picture made has been copied. */
async function settledKeys(): Promise<string[]> {
  return eventually(async () => {
    const keys = await keysOf(theStage);
    const made =
      theStage.gateway
        .logs()
        .match(/"event":"generation","id":"[^"]+"[^\n]*"cost_usd":[\d.]+\}/g) ?? [];
    expect(keys.filter((key) => key.startsWith("request/"))).toHaveLength(made.length);
    return keys;
  });
}

describe("a streamed generation", () => {
  it.each([0, 1, 2, 3])(
    "has %i partial images and the completed one, in the API's form",
    async (partial_images) => {
      const streamed = await stream({ prompt: newPrompt(), partial_images });
      expect(streamed.response.status).toBe(200);
      expect(streamed.response.headers.get("content-type")).toBe(
        "text/event-stream; charset=utf-8",
      );
      expect(streamed.response.headers.get("cache-status")).toBe("darkroom; fwd=miss; stored");
      const partials = streamed.events.slice(0, -1);
      expect(partials.map((event) => event.partial_image_index)).toEqual(
        Array.from({ length: partial_images }, (_, index) => index),
      );
      for (const event of partials) {
        expect(Object.keys(event)).toEqual([
          "type",
          "b64_json",
          "created_at",
          "size",
          "quality",
          "background",
          "output_format",
          "partial_image_index",
        ]);
        expect(event.b64_json).toMatch(/^iVBORw0KGgo/);
      }
      const completed = streamed.events.at(-1);
      expect(Object.keys(completed ?? {})).toEqual([
        "type",
        "b64_json",
        "created_at",
        "size",
        "quality",
        "background",
        "output_format",
        "usage",
      ]);
      expect(completed).toMatchObject({
        type: "image_generation.completed",
        size: "1024x1024",
        quality: "low",
        background: "opaque",
        output_format: "png",
        usage: { output_tokens: 272 },
      });
    },
  );

  it("is read by the official SDK", async () => {
    const client = new OpenAI({ apiKey: "any", baseURL: `${theStage.gateway.url}/v1` });
    const events = await client.images.generate({
      prompt: newPrompt(),
      model: "gpt-image-1.5",
      quality: "low",
      stream: true,
      partial_images: 1,
    });
    const seen = [];
    for await (const event of events) seen.push(event.type);
    expect(seen).toEqual(["image_generation.partial_image", "image_generation.completed"]);
  });

  it("gives the completed picture by URL where that is asked for", async () => {
    const { events } = await stream({ prompt: newPrompt(), response_format: "url" });
    expect(events[0]?.b64_json).toMatch(/^iVBORw0KGgo/);
    const completed = events.at(-1);
    expect(completed?.b64_json).toBeUndefined();
    const file = await fetch(String(completed?.url));
    expect(file.headers.get("content-type")).toBe("image/png");
  });

  it("that was made before is the completed event at once", async () => {
    const prompt = newPrompt();
    const first = await stream({ prompt });
    const hit = await stream({ prompt });
    expect(types(hit)).toEqual(["completed"]);
    expect(hit.response.headers.get("cache-status")).toContain("hit");
    expect(hit.events[0]).toEqual(first.events.at(-1));
    expect(calls(prompt)).toBe(1);
  });

  it("gives somebody who comes late what was already there", async () => {
    const prompt = newPrompt("[upstream gap=400]");
    const early = stream({ prompt });
    await eventually(() => expect(calls(prompt)).toBe(1));
    const late = await stream({ prompt });
    expect(types(late)).toEqual(["partial_image", "partial_image", "completed"]);
    expect(late.response.headers.get("cache-status")).toBe("darkroom; fwd=miss; collapsed");
    expect(late.events).toEqual((await early).events);
    expect(calls(prompt)).toBe(1);
  });

  it("is one with a plain request for the same", async () => {
    const prompt = newPrompt("[upstream gap=200]");
    const streaming = stream({ prompt });
    await eventually(() => expect(calls(prompt)).toBe(1));
    const { stream: _, partial_images: __, ...plainBody } = STREAM;
    const plain = await read(await theStage.post({ ...plainBody, prompt }));
    const { events } = await streaming;
    expect(plain.data[0]?.b64_json).toBe(events.at(-1)?.b64_json);
    expect(calls(prompt)).toBe(1);
  });

  it("that a plain request began has no partial images, and is completed with it", async () => {
    const prompt = newPrompt("[upstream delay=400]");
    const { stream: _, partial_images: __, ...plainBody } = STREAM;
    const plain = theStage.post({ ...plainBody, prompt });
    await eventually(() => expect(calls(prompt)).toBe(1));
    const streamed = await stream({ prompt });
    expect(types(streamed)).toEqual(["completed"]);
    await plain;
    expect(calls(prompt)).toBe(1);
  });

  it("needs n = 1", async () => {
    const response = await theStage.post({ ...STREAM, prompt: newPrompt(), n: 2 });
    expect(response.status).toBe(400);
    expect((await read<ErrorAnswer>(response)).error).toMatchObject({
      type: "image_generation_user_error",
      param: "n",
      code: "unsupported_parameter",
    });
  });
});

describe("a stream that fails", () => {
  afterEach(() => {
    expectCleanLogs(theStage);
  });

  /** Asks again for what has just failed. */
  async function expectAnother(prompt: string): Promise<void> {
    const again = await stream({ prompt });
    expect(types(again)).toEqual(["partial_image", "partial_image", "completed"]);
    expect(again.response.headers.get("cache-status")).toBe("darkroom; fwd=miss; stored");
    expect(calls(prompt)).toBe(2);
  }

  it("before its first event is an ordinary error", async () => {
    const prompt = newPrompt(`${WISH} [upstream status=400 times=1]`);
    const response = await theStage.post({ ...STREAM, prompt });
    expect(response.status).toBe(400);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect((await read<ErrorAnswer>(response)).error.code).toBe("some_code");
    await expectAnother(prompt);
  });

  it("that is cut before its first event is an ordinary error too", async () => {
    const prompt = newPrompt(`${WISH} [upstream partials=0 then=cut times=1]`);
    const before = await settledKeys();
    const response = await theStage.post({ ...STREAM, prompt });
    expect(response.status).toBe(502);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(calls(prompt)).toBe(1);
    expect(await keysOf(theStage)).toEqual(before);
    await expectAnother(prompt);
  });

  it.each([
    ["partials=1 then=cut", 1, "upstream_invalid_response"],
    ["partials=2 then=cut", 2, "upstream_invalid_response"],
    ["partials=2", 2, "upstream_invalid_response"],
    ["partials=1 then=error", 1, "upstream_failed"],
    ["partials=1 then=error code=moderation_blocked", 1, "moderation_blocked"],
  ])("with %s ends in a nested error event for everybody", async (directives, partials, code) => {
    const prompt = newPrompt(`${WISH} [upstream gap=300 times=1 ${directives}]`);
    const before = await settledKeys();
    const [first, other] = await Promise.all([stream({ prompt }), stream({ prompt })]);
    expect(types(first)).toEqual([
      ...Array.from({ length: partials }, () => "partial_image"),
      "error",
    ]);
    expect(other.events).toEqual(first.events);
    expect(calls(prompt)).toBe(1);
    expect(first.events.at(-1)).toEqual({
      type: "error",
      error: {
        message: expect.any(String) as string,
        type: expect.any(String) as string,
        param: null,
        code,
      },
    });
    if (code === "moderation_blocked") {
      // Remembered, and the only failure that is: the prompt is not sent again.
      await eventually(async () => expect(await keysOf(theStage)).toHaveLength(before.length + 1));
      expect((await theStage.post({ ...STREAM, prompt })).status).toBe(400);
      expect(calls(prompt)).toBe(1);
    } else {
      expect(await keysOf(theStage)).toEqual(before);
      await expectAnother(prompt);
    }
  });

  it("is thrown by the official SDK", async () => {
    const client = new OpenAI({ apiKey: "any", baseURL: `${theStage.gateway.url}/v1` });
    const events = await client.images.generate({
      prompt: newPrompt(`${WISH} [upstream partials=1 then=cut]`),
      model: "gpt-image-1.5",
      stream: true,
      partial_images: 2,
    });
    const reading = (async () => {
      for await (const event of events) expect(event.type).toContain("partial_image");
    })();
    await expect(reading).rejects.toThrow(OpenAI.APIError);
  });
});
