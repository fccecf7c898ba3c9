import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { read, stage, type ErrorAnswer } from "../support/stage.ts";
import { newPrompt } from "../support/bodies.ts";

const theStage = stage({ UPSTREAM_TIMEOUT_SECONDS: "1" });

describe("an upstream that takes too long", () => {
  it("is a 504 that the SDK does not retry, because the picture may have been paid for", async () => {
    const client = new OpenAI({ apiKey: "any", baseURL: `${theStage.gateway.url}/v1` });
    const prompt = newPrompt("[upstream delay=3000]");
    const error = await client.images.generate({ prompt }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OpenAI.APIError);
    expect(error).toMatchObject({ status: 504, code: "upstream_timeout", type: "upstream_error" });
    expect(theStage.upstream.received(prompt)).toHaveLength(1);
  });

  it("is none where the time would run out while waiting to ask again: that says why", async () => {
    const prompt = newPrompt("[upstream status=429 retry-after=5]");
    const response = await theStage.post({ prompt });
    expect(response.status).toBe(429);
    expect(response.headers.get("retry-after")).toBe("5");
    expect((await read<ErrorAnswer>(response)).error.code).toBe("upstream_rate_limited");
  });
});
