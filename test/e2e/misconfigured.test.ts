import { describe, expect, it } from "vitest";
import { read, stage, type ErrorAnswer } from "../support/stage.ts";
import { newPrompt } from "../support/bodies.ts";

const theStage = stage({ UPSTREAM_API_KEY: undefined });

describe("a gateway without a key", () => {
  it("says so, and what to do, and asks nobody", async () => {
    const prompt = newPrompt();
    const response = await theStage.post({ prompt });
    expect(response.status).toBe(500);
    expect((await read<ErrorAnswer>(response)).error).toEqual({
      message:
        "This gateway is misconfigured: UPSTREAM_API_KEY is not set " +
        "(npx wrangler secret put UPSTREAM_API_KEY, or a line in .dev.vars).",
      type: "server_error",
      param: null,
      code: "misconfigured",
    });
    expect(theStage.upstream.received(prompt)).toEqual([]);
  });

  it("does not take the client's key instead", async () => {
    const prompt = newPrompt();
    const response = await theStage.post({ prompt }, { authorization: "Bearer sk-client" });
    expect(response.status).toBe(500);
    expect(theStage.upstream.received(prompt)).toEqual([]);
  });

  it("is healthy all the same, and shows what is missing", async () => {
    const response = await fetch(`${theStage.gateway.url}/health`);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ secrets: { UPSTREAM_API_KEY: false } });
  });
});
