import { describe, expect, it } from "vitest";
import { read, startStage, type ErrorBody } from "../support/stage.ts";
import { newPrompt } from "../support/bodies.ts";

const stage = startStage({ UPSTREAM_API_KEY: undefined });

describe("a gateway without UPSTREAM_API_KEY", () => {
  it("returns 500 that names the missing secret and its fix, without calling the upstream", async () => {
    const prompt = newPrompt();
    const response = await stage.post({ prompt });
    expect(response.status).toBe(500);
    expect((await read<ErrorBody>(response)).error).toEqual({
      message:
        "This gateway is misconfigured: UPSTREAM_API_KEY is not set " +
        "(npx wrangler secret put UPSTREAM_API_KEY, or a line in .dev.vars).",
      type: "server_error",
      param: null,
      code: "misconfigured",
    });
    expect(stage.upstream.received(prompt)).toEqual([]);
  });

  it("does not send the client's key instead", async () => {
    const prompt = newPrompt();
    const response = await stage.post({ prompt }, { authorization: "Bearer sk-client" });
    expect(response.status).toBe(500);
    expect(stage.upstream.received(prompt)).toEqual([]);
  });

  it("reports the missing secret in GET /health with status 200", async () => {
    const response = await fetch(`${stage.gateway.url}/health`);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ secrets: { UPSTREAM_API_KEY: false } });
  });
});
