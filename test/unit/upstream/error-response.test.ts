import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toWire } from "../../../src/errors/wire.ts";
import { classifyErrorResponse } from "../../../src/upstream/error-response.ts";
import { wireOf } from "../../support/failures.ts";

const KEY = "sk-proj-0123456789abcdefghij";
const PROMPT = "a rather private portrait of my neighbour";
const SENT = { secrets: [KEY, PROMPT], identifiers: ["bob", "ann@example.com"] };

function classified(status: number, body: unknown, retryAfter: string | null = null) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return classifyErrorResponse({ status, retryAfter, text }, SENT, Date.now());
}

function envelope(fields: object) {
  return { error: { message: "It was refused.", type: "some_error", param: null, ...fields } };
}

function messageOf(status: number, body: unknown): string {
  return toWire(classified(status, body).failure).body.error.message;
}

describe("an error response of the upstream", () => {
  it.each([
    [400, 400, "some_code", false],
    [404, 404, "some_code", false],
    [409, 409, "some_code", false],
    [422, 422, "some_code", false],
    [401, 502, "upstream_unauthorized", false],
    [402, 502, "upstream_unauthorized", false],
    [403, 502, "upstream_unauthorized", false],
    [429, 429, "upstream_rate_limited", true],
    [500, 502, "upstream_failed", true],
    [502, 502, "upstream_failed", true],
    [503, 502, "upstream_failed", true],
    [504, 502, "upstream_failed", false],
    [520, 502, "upstream_failed", false],
    [524, 502, "upstream_failed", false],
    [521, 502, "upstream_unreachable", true],
    [522, 502, "upstream_unreachable", true],
    [530, 502, "upstream_unreachable", true],
    [301, 502, "upstream_invalid_response", false],
    [307, 502, "upstream_invalid_response", false],
  ])("with status %i becomes %i `%s`, retryable: %s", (status, gatewayStatus, code, retryable) => {
    const result = classified(status, envelope({ code: "some_code" }));
    expect(wireOf(result.failure)).toMatchObject({ status: gatewayStatus, code });
    expect(result.retryable).toBe(retryable);
  });

  it("with the code insufficient_quota becomes `upstream_unauthorized` and is not retried", () => {
    const result = classified(429, envelope({ code: "insufficient_quota" }));
    expect(result).toEqual({ failure: { code: "upstream_unauthorized" }, retryable: false });
  });

  it.each(["moderation_blocked", "content_policy_violation"])(
    "with the code %s becomes a moderation block with its details",
    (code) => {
      const details = { moderation_stage: "input", categories: ["violence"] };
      const { failure } = classified(400, envelope({ code, moderation_details: details }));
      expect(failure).toEqual({ code: "moderation_blocked", details });
    },
  );

  it("forbids SDK retries if the upstream may have charged, and only then", () => {
    expect(toWire(classified(504, "").failure).headers).toEqual({ "x-should-retry": "false" });
    expect(toWire(classified(500, "").failure).headers).toEqual({});
  });

  it("keeps its Retry-After if it is a rate limit", () => {
    expect(classified(429, "", "17").failure).toMatchObject({ retryAfterSeconds: 17 });
  });
});

describe("an upstream error response", () => {
  it.each([
    [{ param: "user" }, true],
    [{ param: "safety_identifier" }, true],
    [{ message: "The end user bob is blocked." }, true],
    [{ message: "ann@example.com is blocked." }, true],
    [{ code: "identifier_blocked" }, true],
    [{ message: "The bobsled is not allowed." }, false],
    [{ param: "prompt" }, false],
    [{}, false],
  ])("with %o is about the sender: %s", (fields, isAboutSender) => {
    expect(classified(400, envelope(fields)).failure).toMatchObject({ isAboutSender });
  });
});

describe("the message of an upstream error response", () => {
  it.each([
    ["the API's envelope", envelope({ code: "c" }), "It was refused."],
    ["an error that is text", { error: "It was refused." }, "It was refused."],
    ["plain text", "It was\r\n refused.\u0000", "It was refused."],
  ])("is taken from %s", (_, body, reason) => {
    expect(messageOf(400, body)).toBe(reason);
  });

  it.each([
    ["HTML", "<!doctype html><h1>Bad request</h1>"],
    ["JSON of another shape", { detail: "x" }],
    ["broken JSON", '{"error":{"message":"x'],
    ["an empty body", ""],
    ["an envelope without a message", { error: { code: "c" } }],
  ])("is a fixed text for %s", (_, body) => {
    expect(messageOf(400, body)).toBe("The upstream rejected this request and gave no reason.");
  });

  it("is cut to 300 characters", () => {
    expect(messageOf(400, "x ".repeat(10_000)).length).toBeLessThanOrEqual(300);
  });

  it.each([
    ["the key", `Incorrect API key provided: ${KEY}.`],
    ["a part of the key", `Incorrect API key provided: ${KEY.slice(0, 15)}…`],
    ["the prompt", `Your prompt "${PROMPT}" is too vague.`],
    ["a part of the prompt", `Near "${PROMPT.slice(5, 30)}".`],
  ])("is a fixed text if the upstream repeats %s", (_, text) => {
    for (const body of [text, { error: text }, envelope({ message: text, code: "c" })]) {
      expect(messageOf(400, body)).toBe("The upstream rejected this request and gave no reason.");
    }
  });

  it("masks text that looks like an API key", () => {
    const message = messageOf(
      400,
      "Incorrect API key provided: sk-abc1****wxyz. See Bearer abc.def",
    );
    expect(message).toBe("Incorrect API key provided: [key]. See [key]");
  });

  it("comes with type, param and code only if they are well-formed", () => {
    const { failure } = classified(400, envelope({ type: "a b", param: "<script>", code: 17 }));
    expect(failure).toMatchObject({ error: { type: null, param: null, code: "17" } });
    expect(wireOf(failure).type).toBe("invalid_request_error");
  });

  it.each([
    ["too large", { categories: ["x".repeat(5000)] }],
    ["repeating the prompt", { prompt: PROMPT }],
  ])("comes without moderation details that are %s", (_, details) => {
    const body = envelope({ code: "moderation_blocked", moderation_details: details });
    expect(classified(400, body).failure).toEqual({
      code: "moderation_blocked",
      details: undefined,
    });
  });

  it("never contains 12 or more consecutive characters of a secret", () => {
    const around = fc.string({ maxLength: 100 });
    const run = fc
      .tuple(fc.constantFrom(...SENT.secrets), fc.nat(10), fc.integer({ min: 12, max: 40 }))
      .map(([secret, start, length]) => secret.slice(start, start + length))
      .filter((text) => text.length >= 12 && text.trim() === text);
    fc.assert(
      fc.property(around, run, around, (before, secret, after) => {
        expect(messageOf(400, `${before} ${secret} ${after}`)).not.toContain(secret);
      }),
    );
  });
});
