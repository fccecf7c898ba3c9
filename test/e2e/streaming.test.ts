import { createParser } from "eventsource-parser";
import OpenAI from "openai";
import { afterEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { openAiAt } from "../support/openai.ts";
import { expectCleanLogs, keysOf, PRIVATE_TEXT } from "../support/expect-fault.ts";
import { read, startStage, type ErrorBody } from "../support/stage.ts";
import { newPrompt, STREAM } from "../support/bodies.ts";

const stage = startStage();
const { calls } = stage;

interface ImageEvent {
  type: string;
  b64_json?: string;
  url?: string;
  partial_image_index?: number;
  error?: ErrorBody["error"];
  [name: string]: unknown;
}

interface Streamed {
  response: Response;
  events: ImageEvent[];
}

async function stream(body: object): Promise<Streamed> {
  return streamed(await stage.post({ ...STREAM, ...body }));
}

/** Returns all events of a stream, and checks that the name of each event is its type. */
async function streamed(response: Response): Promise<Streamed> {
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

/** Returns the keys in KV once every completed generation has been copied there. */
async function settledKeys(): Promise<string[]> {
  return eventually(async () => {
    const keys = await keysOf(stage);
    const completedLines =
      stage.gateway.logs().match(/"event":"generation","id":"[^"]+"[^\n]*"cost_usd":[\d.]+\}/g) ??
      [];
    expect(keys.filter((key) => key.startsWith("request/"))).toHaveLength(completedLines.length);
    return keys;
  });
}

describe("a streamed generation", () => {
  it.each([0, 1, 2, 3])(
    "sends %i partial images and the completed image in the API's format",
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
    const client = openAiAt(stage);
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

  it("sends the completed image as a URL with response_format url", async () => {
    const { events } = await stream({ prompt: newPrompt(), response_format: "url" });
    expect(events[0]?.b64_json).toMatch(/^iVBORw0KGgo/);
    const completed = events.at(-1);
    expect(completed?.b64_json).toBeUndefined();
    const file = await fetch(String(completed?.url));
    expect(file.headers.get("content-type")).toBe("image/png");
  });

  it("sends only the completed event on a cache hit", async () => {
    const prompt = newPrompt();
    const first = await stream({ prompt });
    const hit = await stream({ prompt });
    expect(types(hit)).toEqual(["completed"]);
    expect(hit.response.headers.get("cache-status")).toContain("hit");
    expect(hit.events[0]).toEqual(first.events.at(-1));
    expect(calls(prompt)).toBe(1);
  });

  it("sends the earlier partial images to a client that joins late", async () => {
    const prompt = newPrompt("[upstream hold=last]");
    const early = await stage.post({ ...STREAM, prompt });
    const joined = await stage.post({ ...STREAM, prompt });
    await stage.release(prompt);
    const late = await streamed(joined);
    expect(types(late)).toEqual(["partial_image", "partial_image", "completed"]);
    expect(late.response.headers.get("cache-status")).toBe("darkroom; fwd=miss; collapsed");
    expect(late.events).toEqual((await streamed(early)).events);
    expect(calls(prompt)).toBe(1);
  });

  it("is joined by an identical request without stream", async () => {
    const prompt = newPrompt("[upstream gap=200]");
    const streaming = stream({ prompt });
    await eventually(() => expect(calls(prompt)).toBe(1));
    const { stream: _, partial_images: __, ...plainBody } = STREAM;
    const plain = await read(await stage.post({ ...plainBody, prompt }));
    const { events } = await streaming;
    expect(plain.data[0]?.b64_json).toBe(events.at(-1)?.b64_json);
    expect(calls(prompt)).toBe(1);
  });

  it("sends only the completed event if it joins a request without stream", async () => {
    const prompt = newPrompt("[upstream delay=400]");
    const { stream: _, partial_images: __, ...plainBody } = STREAM;
    const plain = stage.post({ ...plainBody, prompt });
    await eventually(() => expect(calls(prompt)).toBe(1));
    const streamed = await stream({ prompt });
    expect(types(streamed)).toEqual(["completed"]);
    await plain;
    expect(calls(prompt)).toBe(1);
  });

  it("is rejected with n = 2", async () => {
    const response = await stage.post({ ...STREAM, prompt: newPrompt(), n: 2 });
    expect(response.status).toBe(400);
    expect((await read<ErrorBody>(response)).error).toMatchObject({
      type: "image_generation_user_error",
      param: "n",
      code: "unsupported_parameter",
    });
  });
});

describe("a stream that fails", () => {
  afterEach(() => {
    expectCleanLogs(stage);
  });

  /** Repeats a failed request and expects a second generation. */
  async function expectAnother(prompt: string): Promise<void> {
    const repeated = await stream({ prompt });
    expect(types(repeated)).toEqual(["partial_image", "partial_image", "completed"]);
    expect(repeated.response.headers.get("cache-status")).toBe("darkroom; fwd=miss; stored");
    expect(calls(prompt)).toBe(2);
  }

  it("returns a JSON error if the upstream rejects the request", async () => {
    const prompt = newPrompt(`${PRIVATE_TEXT} [upstream status=400 times=1]`);
    const response = await stage.post({ ...STREAM, prompt });
    expect(response.status).toBe(400);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect((await read<ErrorBody>(response)).error.code).toBe("some_code");
    await expectAnother(prompt);
  });

  it("returns a JSON error if the upstream cuts the stream before its first event", async () => {
    const prompt = newPrompt(`${PRIVATE_TEXT} [upstream partials=0 then=cut times=1]`);
    const before = await settledKeys();
    const response = await stage.post({ ...STREAM, prompt });
    expect(response.status).toBe(502);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(calls(prompt)).toBe(1);
    expect(await keysOf(stage)).toEqual(before);
    await expectAnother(prompt);
  });

  it.each([
    ["partials=1 then=cut", 1, "upstream_invalid_response"],
    ["partials=2 then=cut", 2, "upstream_invalid_response"],
    ["partials=2", 2, "upstream_invalid_response"],
    ["partials=1 then=error", 1, "upstream_failed"],
    ["partials=1 then=error code=moderation_blocked", 1, "moderation_blocked"],
  ])(
    "sends the same nested error event to every client after %s",
    async (directives, partials, code) => {
      const prompt = newPrompt(`${PRIVATE_TEXT} [upstream gap=300 times=1 ${directives}]`);
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
        // A moderation block is cached, unlike other failures: the prompt is not sent again.
        await eventually(async () => expect(await keysOf(stage)).toHaveLength(before.length + 1));
        expect((await stage.post({ ...STREAM, prompt })).status).toBe(400);
        expect(calls(prompt)).toBe(1);
      } else {
        expect(await keysOf(stage)).toEqual(before);
        await expectAnother(prompt);
      }
    },
  );

  it("is thrown as an APIError by the official SDK", async () => {
    const client = openAiAt(stage);
    const events = await client.images.generate({
      prompt: newPrompt(`${PRIVATE_TEXT} [upstream partials=1 then=cut]`),
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
