import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { read, startStage, type ErrorBody } from "../support/stage.ts";
import { openAiAt } from "../support/openai.ts";
import { newPrompt } from "../support/bodies.ts";

const stage = startStage({ UPSTREAM_TIMEOUT_SECONDS: "1" });

describe("an upstream that exceeds the timeout", () => {
  it("causes a 504 that the SDK does not retry, because the image may have been charged", async () => {
    const client = openAiAt(stage);
    const prompt = newPrompt("[upstream delay=3000]");
    const error = await client.images.generate({ prompt }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OpenAI.APIError);
    expect(error).toMatchObject({ status: 504, code: "upstream_timeout", type: "upstream_error" });
    expect(stage.upstream.received(prompt)).toHaveLength(1);
  });

  it("causes the upstream's own 429 if its Retry-After exceeds the remaining time", async () => {
    const prompt = newPrompt("[upstream status=429 retry-after=5]");
    const response = await stage.post({ prompt });
    expect(response.status).toBe(429);
    expect(response.headers.get("retry-after")).toBe("5");
    expect((await read<ErrorBody>(response)).error.code).toBe("upstream_rate_limited");
  });
});
