import { describe, expect, it } from "vitest";
import { newPrompt } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  ADMIN,
  bindings,
  changeEnvironment,
  environment,
  errorOf,
  fetchWorker,
  post,
  sharedObject,
  upstreamCalls,
} from "../support/worker/harness.ts";

quietAndFresh({ expectsErrors: true });

const LOW = { model: "gpt-image-1.5", size: "1024x1024", quality: "low" };

interface Usage {
  spent_today_usd: number;
  days: { images: number; spent_usd: number }[];
}

async function usage(): Promise<Usage> {
  const response = await fetchWorker("/v1/usage", environment(), { headers: ADMIN });
  return response.json<Usage>();
}

/** Expects that the settlements leave nothing reserved and nothing spent. */
async function expectNothingSpent(): Promise<void> {
  await eventually(async () =>
    expect(await usage()).toMatchObject({ spent_today_usd: 0, days: [] }),
  );
}

function moderationBlocks() {
  return bindings().CACHE.list({ prefix: "refusal/" });
}

describe("an upstream that generates nothing", () => {
  it("and responds in words to 24 requests charges nothing, and each is called once", async () => {
    const prompts = Array.from({ length: 24 }, () => newPrompt("[upstream answer=words]"));
    const responses = await Promise.all(prompts.map((prompt) => post({ ...LOW, prompt })));
    for (const response of responses) {
      expect(response.headers.get("x-should-retry")).toBe("false");
      expect(await errorOf(response)).toEqual([502, "upstream_invalid_response", null]);
    }
    for (const prompt of prompts) expect(await upstreamCalls(prompt)).toBe(1);
    await expectNothingSpent();
    expect((await moderationBlocks()).keys).toEqual([]);
  });

  it("and responds in words may generate the same request later", async () => {
    const body = { ...LOW, prompt: newPrompt("[upstream answer=words times=1]") };
    const headers = { "idempotency-key": crypto.randomUUID() };
    expect((await post(body, headers)).status).toBe(502);
    expect((await post(body, headers)).status).toBe(200);
    expect(await upstreamCalls(body.prompt)).toBe(2);
  });

  it.each([
    ["refused", {}],
    ["filtered", {}],
    ["refused", { stream: true, partial_images: 1 }],
    ["filtered", { stream: true, partial_images: 1 }],
  ])(
    "and declares a block in a chat completion (%s, %o) charges nothing, and is remembered",
    async (answer, parameters) => {
      const body = { ...LOW, prompt: newPrompt(`[upstream answer=${answer}]`) };
      const first = await post({ ...body, ...parameters });
      expect(await first.text()).toContain('"moderation_blocked"');
      await expectNothingSpent();
      await eventually(async () => expect((await moderationBlocks()).keys).toHaveLength(1));
      expect(await errorOf(await post(body))).toEqual([400, "moderation_blocked", null]);
      expect(await upstreamCalls(body.prompt)).toBe(1);
    },
  );

  it.each([
    ["words in a stream", "answer=words", { stream: true, partial_images: 1 }],
    ["status 400", "status=400", {}],
    ["the code content_filter", "status=400 code=content_filter", {}],
    ["status 521 three times", "status=521", {}],
    ["status 530 three times", "status=530", {}],
    ["status 503 three times", "status=503", {}],
  ])("and responds with %s charges nothing", async (_, directives, parameters) => {
    const body = { ...LOW, ...parameters, prompt: newPrompt(`[upstream ${directives}]`) };
    expect(await (await post(body)).text()).toContain('"error"');
    await expectNothingSpent();
  });
});

describe("an upstream that may have generated", () => {
  it.each([
    ["status 522", "status=522", "upstream_unreachable"],
    ["status 520", "status=520", "upstream_failed"],
    ["a cut connection", "reset=before", "upstream_unreachable"],
    [
      "a chat completion with a dead URL",
      "dialect=chat-url image=expired",
      "upstream_invalid_response",
    ],
    ["bad base64", "answer=bad-base64", "upstream_invalid_response"],
  ])(
    "and responds with %s is charged in full and is not called again",
    async (_, directives, code) => {
      const prompt = newPrompt(`[upstream ${directives}]`);
      const response = await post({ ...LOW, prompt });
      expect(response.headers.get("x-should-retry")).toBe("false");
      expect(await errorOf(response)).toEqual([502, code, null]);
      expect(await upstreamCalls(prompt)).toBe(1);
      await eventually(async () => {
        const { days, spent_today_usd: spent } = await usage();
        expect(days).toMatchObject([{ images: 0, spent_usd: spent }]);
        expect(spent).toBeGreaterThan((272 * 32) / 1e6);
      });
    },
  );

  it("is charged in full if its port is closed, because the runtime reports a cut connection alike", async () => {
    const body = { ...LOW, prompt: newPrompt() };
    // No server listens on the discard port.
    await changeEnvironment(await sharedObject(body), {
      UPSTREAM_BASE_URL: "http://127.0.0.1:9/v1",
    });
    const response = await post(body);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(await errorOf(response)).toEqual([502, "upstream_unreachable", null]);
    await eventually(async () => expect((await usage()).days).toMatchObject([{ images: 0 }]));
    expect((await usage()).spent_today_usd).toBeGreaterThan((272 * 32) / 1e6);
  });
});
