import { describe, expect, it } from "vitest";
import { read, startStage, type ErrorBody } from "../support/stage.ts";
import { expectFault, type Fault } from "../support/expect-fault.ts";
import { newPrompt, SMALL_BASE64 } from "../support/bodies.ts";

const stage = startStage();
/** For the faults that must time out. The others get the default timeout, because a machine may be busy. */
const timingOut = startStage({ UPSTREAM_TIMEOUT_SECONDS: "2" });

const INVALID = { status: 502, code: "upstream_invalid_response" };
const RETRYABLE = { retryable: true };
const pastDate = "Wed,+25+Nov+2020+12:00:00+GMT";
const farDate = "Wed,+25+Nov+2099+12:00:00+GMT";

const FAULTS: readonly Fault[] = [
  { name: "no headers", directives: "delay=4000", status: 504, code: "upstream_timeout" },
  { name: "headers late", directives: "delay=700", status: 200 },
  {
    name: "reset before the headers",
    directives: "reset=before",
    status: 502,
    code: "upstream_unreachable",
  },
  {
    name: "a cut body with a Content-Length",
    directives: "reset=body",
    ...INVALID,
    message: "ended early",
  },
  {
    name: "a cut chunked body",
    directives: "reset=chunked-body",
    ...INVALID,
    message: "ended early",
  },
  { name: "chunks of one byte", directives: "slice=1", status: 200 },
  { name: "malformed JSON", directives: "answer=truncated", ...INVALID, message: "not valid JSON" },
  { name: "no body", directives: "answer=empty", ...INVALID, message: "not valid JSON" },
  {
    name: "HTML with status 200",
    directives: "answer=html",
    ...INVALID,
    message: "not valid JSON",
  },
  {
    name: "JSON without images",
    directives: "answer=no-images",
    ...INVALID,
    message: "contains no image",
  },
  {
    name: "a chat completion in words",
    directives: "answer=words",
    ...INVALID,
    message: "it is text without an image. No image was generated.",
  },
  { name: "bad base64", directives: "answer=bad-base64", ...INVALID, message: "base64" },
  {
    name: "SVG in place of an image",
    directives: "answer=svg",
    ...INVALID,
    message: "is not PNG",
  },
  {
    name: "HTML in place of an image",
    directives: "answer=html-as-png",
    ...INVALID,
    message: "is not PNG",
  },
  {
    name: "an image above the size limit",
    directives: "bytes=27000000",
    ...INVALID,
    message: "too large (more than 25 MiB)",
  },
  {
    name: "text above its limit",
    directives: "answer=long-text",
    ...INVALID,
    message: "too large (more than 8 MiB besides its images)",
  },
  {
    name: "429 with Retry-After in seconds",
    directives: "status=429 retry-after=0",
    status: 200,
    calls: 2,
  },
  {
    name: "429 with Retry-After as a date in the past",
    directives: `status=429 retry-after=${pastDate}`,
    status: 200,
    calls: 2,
  },
  {
    name: "429 with Retry-After as a date in the far future",
    directives: `status=429 retry-after=${farDate}`,
    status: 429,
    code: "upstream_rate_limited",
    retryAfter: "86400",
    ...RETRYABLE,
  },
  {
    name: "429 with an absurd Retry-After",
    directives: "status=429 retry-after=99999999999",
    status: 429,
    code: "upstream_rate_limited",
    retryAfter: "86400",
    ...RETRYABLE,
  },
  { name: "429 without Retry-After", directives: "status=429", status: 200, calls: 2 },
  { name: "500 once", directives: "status=500", status: 200, calls: 2 },
  { name: "502 once", directives: "status=502 error=html", status: 200, calls: 2 },
  { name: "503 once", directives: "status=503 error=text", status: 200, calls: 2 },
  { name: "522", directives: "status=522", status: 502, code: "upstream_unreachable" },
  {
    name: "523 once",
    directives: "status=523",
    status: 200,
    calls: 2,
  },
  { name: "524", directives: "status=524", status: 502, code: "upstream_failed" },
  { name: "504", directives: "status=504 error=html", status: 502, code: "upstream_failed" },
  {
    name: "401",
    directives: "status=401 error=echo",
    status: 502,
    code: "upstream_unauthorized",
    ...RETRYABLE,
  },
  {
    name: "403",
    directives: "status=403",
    status: 502,
    code: "upstream_unauthorized",
    ...RETRYABLE,
  },
  {
    name: "400 that echoes key and prompt",
    directives: "status=400 error=echo",
    status: 400,
    code: "some_code",
    ...RETRYABLE,
  },
  { name: "a redirect", directives: "status=307", ...INVALID, message: "redirect (307)" },
  {
    name: "an image URL that expired",
    directives: "dialect=url image=expired",
    ...INVALID,
    message: "status 403",
  },
  {
    name: "an image URL that redirects",
    directives: "dialect=url image=redirect",
    ...INVALID,
    message: "status 302",
  },
  {
    name: "an image URL to a private address",
    directives: "dialect=url image=inside",
    ...INVALID,
    message: "not a public https URL",
  },
  { name: "an image URL that fails once", directives: "dialect=url image=flaky", status: 200 },
];

/** Limits a fault that is retried with `times`, so that the last upstream call succeeds. */
function withRetries(fault: Fault): Fault {
  return fault.status === 200 && fault.calls !== undefined
    ? { ...fault, directives: `${fault.directives} times=${fault.calls - 1}` }
    : fault;
}

describe("a fault of the upstream", () => {
  it.each(FAULTS)("results in status $status: $name", async (fault) => {
    const mustTimeOut = fault.code === "upstream_timeout";
    await expectFault(mustTimeOut ? timingOut : stage, withRetries(fault));
  });

  it("that persists results in 502 after two retries", async () => {
    const prompt = newPrompt("[upstream status=503]");
    const response = await stage.post({ prompt });
    expect(response.status).toBe(502);
    expect((await read<ErrorBody>(response)).error.code).toBe("upstream_failed");
    expect(response.headers.get("x-should-retry")).toBeNull();
    expect(stage.upstream.received(prompt)).toHaveLength(3);
  });

  it("that is a response after the timeout results in 504, is not retried and is not cached", async () => {
    const body = {
      prompt: newPrompt("[upstream delay=2500 times=1]"),
      model: "dall-e-2",
      size: "256x256",
    };
    expect((await timingOut.post(body)).status).toBe(504);
    expect(timingOut.upstream.received(body.prompt)).toHaveLength(1);
    const repeated = await timingOut.post(body);
    expect(repeated.status).toBe(200);
    expect(repeated.headers.get("cache-status")).toBe("darkroom; fwd=miss; stored");
  });
});

describe("a download that does not end before the timeout", () => {
  it("is left out, and the image that was downloaded before is returned", async () => {
    const prompt = newPrompt("[upstream dialect=url image=stuck]");
    const response = await timingOut.post({ ...SMALL_BASE64, prompt, n: 3 });
    expect(response.status).toBe(200);
    expect((await read(response)).data).toHaveLength(1);
    expect(timingOut.upstream.received(prompt)).toHaveLength(1);
  });
});

describe("an upstream that refuses the connection", () => {
  const disconnected = startStage();

  it("results in a final 502, because the runtime cannot tell it from a cut connection", async () => {
    const { upstream, gateway } = disconnected;
    await upstream.close();
    const response = await disconnected.post({ prompt: newPrompt() });
    expect(response.status).toBe(502);
    expect((await read<ErrorBody>(response)).error.code).toBe("upstream_unreachable");
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect((await gateway.cache.list()).keys).toEqual([]);
  });
});
