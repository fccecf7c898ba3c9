import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mayHaveCharged } from "../../../src/errors/failure.ts";
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

/** Ranges of statuses: the first, the last, whether it may have been charged, whether it is retried. */
const STATUSES: readonly (readonly [number, number, boolean, boolean, string])[] = [
  [300, 399, true, false, "a server may redirect after it has processed a POST (303)"],
  [400, 428, false, false, "the upstream rejects the request"],
  [429, 429, false, true, "the upstream has not started"],
  [430, 499, false, false, "the upstream rejects the request"],
  [500, 500, false, true, "upstreams do not charge for their own faults"],
  [501, 501, true, false, "the status does not say whether the upstream had started"],
  [502, 503, false, true, "upstreams do not charge for their own faults"],
  [504, 519, true, false, "504: the upstream may still generate; others are not known"],
  [520, 520, true, false, "Cloudflare delivered the request"],
  [521, 521, false, true, "Cloudflare's connection was refused"],
  [522, 522, true, false, "the connection may have timed out after the request was sent"],
  [523, 523, false, true, "the origin was unreachable for Cloudflare"],
  [524, 524, true, false, "the upstream received the request and may still generate"],
  [525, 526, false, true, "TLS failed before the request was sent"],
  [527, 529, true, false, "these are not known"],
  [530, 530, false, true, "Cloudflare found no such host"],
  [531, 599, true, false, "these are not known"],
];

describe("an error response of the upstream", () => {
  it.each([
    [400, 400, "some_code"],
    [404, 404, "some_code"],
    [409, 409, "some_code"],
    [422, 422, "some_code"],
    [401, 502, "upstream_unauthorized"],
    [402, 502, "upstream_unauthorized"],
    [403, 502, "upstream_unauthorized"],
    [429, 429, "upstream_rate_limited"],
    [500, 502, "upstream_failed"],
    [502, 502, "upstream_failed"],
    [503, 502, "upstream_failed"],
    [504, 502, "upstream_failed"],
    [520, 502, "upstream_failed"],
    [524, 502, "upstream_failed"],
    [521, 502, "upstream_unreachable"],
    [522, 502, "upstream_unreachable"],
    [530, 502, "upstream_unreachable"],
    [301, 502, "upstream_invalid_response"],
    [307, 502, "upstream_invalid_response"],
  ])("with status %i becomes %i `%s`", (status, gatewayStatus, code) => {
    const result = classified(status, envelope({ code: "some_code" }));
    expect(wireOf(result.failure)).toMatchObject({ status: gatewayStatus, code });
  });

  it.each(STATUSES)(
    "with a status from %i to %i may have been charged: %s, and is retried: %s, because %s",
    (from, to, isUncertain, isRetried) => {
      for (let status = from; status <= to; status += 1) {
        const { failure, retryable } = classified(status, envelope({ code: "some_code" }));
        expect([status, mayHaveCharged(failure), retryable]).toEqual([
          status,
          isUncertain,
          isRetried,
        ]);
      }
    },
  );

  it("is in the table of statuses, whatever its status is", () => {
    const listed = STATUSES.flatMap(([from, to]) =>
      Array.from({ length: to - from + 1 }, (_, index) => from + index),
    );
    expect(listed).toEqual(Array.from({ length: 300 }, (_, index) => 300 + index));
  });

  it("with the code insufficient_quota becomes `upstream_unauthorized` and is not retried", () => {
    const result = classified(429, envelope({ code: "insufficient_quota" }));
    expect(result).toEqual({ failure: { code: "upstream_unauthorized" }, retryable: false });
  });

  it.each(["moderation_blocked", "content_policy_violation", "content_filter"])(
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
