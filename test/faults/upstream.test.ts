import { describe, expect, it } from "vitest";
import { read, startStage, type ErrorBody } from "../support/stage.ts";
import { expectFault, type Fault } from "../support/expect-fault.ts";
import { newPrompt } from "../support/bodies.ts";

const stage = startStage();
/** For the faults that are about time: the others may take as long as a busy machine needs. */
const impatient = startStage({ UPSTREAM_TIMEOUT_SECONDS: "2" });

const INVALID = { status: 502, code: "upstream_invalid_response" };
const FREE = { retryable: true };
const pastDate = "Wed,+25+Nov+2020+12:00:00+GMT";
const farDate = "Wed,+25+Nov+2099+12:00:00+GMT";

const FAULTS: readonly Fault[] = [
  { name: "headers never", directives: "delay=4000", status: 504, code: "upstream_timeout" },
  { name: "headers late", directives: "delay=700", status: 200 },
  {
    name: "reset before the headers",
    directives: "reset=before",
    status: 502,
    code: "upstream_unreachable",
  },
  {
    name: "a body cut, its length known",
    directives: "reset=body",
    ...INVALID,
    says: "ended early",
  },
  { name: "a chunked body cut", directives: "reset=chunked-body", ...INVALID, says: "ended early" },
  { name: "slices of one byte", directives: "slice=1", status: 200 },
  { name: "malformed JSON", directives: "answer=truncated", ...INVALID, says: "not valid JSON" },
  { name: "no body", directives: "answer=empty", ...INVALID, says: "not valid JSON" },
  { name: "HTML with status 200", directives: "answer=html", ...INVALID, says: "not valid JSON" },
  {
    name: "JSON without images",
    directives: "answer=no-images",
    ...INVALID,
    says: "contains no image",
  },
  { name: "bad base64", directives: "answer=bad-base64", ...INVALID, says: "base64" },
  { name: "SVG as a picture", directives: "answer=svg", ...INVALID, says: "neither PNG" },
  { name: "HTML as a picture", directives: "answer=html-as-png", ...INVALID, says: "neither PNG" },
  { name: "a picture over the cap", directives: "bytes=27000000", ...INVALID, says: "too large" },
  {
    name: "429 with Retry-After in seconds",
    directives: "status=429 retry-after=0",
    status: 200,
    calls: 2,
  },
  {
    name: "429 with Retry-After as a date gone by",
    directives: `status=429 retry-after=${pastDate}`,
    status: 200,
    calls: 2,
  },
  {
    name: "429 with Retry-After as a date far ahead",
    directives: `status=429 retry-after=${farDate}`,
    status: 429,
    code: "upstream_rate_limited",
    retryAfter: "86400",
    ...FREE,
  },
  {
    name: "429 with an absurd Retry-After",
    directives: "status=429 retry-after=99999999999",
    status: 429,
    code: "upstream_rate_limited",
    retryAfter: "86400",
    ...FREE,
  },
  { name: "429 without Retry-After", directives: "status=429", status: 200, calls: 2 },
  { name: "500 once", directives: "status=500", status: 200, calls: 2 },
  { name: "502 once", directives: "status=502 error=html", status: 200, calls: 2 },
  { name: "503 once", directives: "status=503 error=text", status: 200, calls: 2 },
  { name: "524", directives: "status=524", status: 502, code: "upstream_failed" },
  { name: "504", directives: "status=504 error=html", status: 502, code: "upstream_failed" },
  {
    name: "401",
    directives: "status=401 error=echo",
    status: 502,
    code: "upstream_unauthorized",
    ...FREE,
  },
  { name: "403", directives: "status=403", status: 502, code: "upstream_unauthorized", ...FREE },
  {
    name: "400 that echoes key and prompt",
    directives: "status=400 error=echo",
    status: 400,
    code: "some_code",
    ...FREE,
  },
  { name: "a redirect", directives: "status=307", ...INVALID, says: "redirect (307)" },
  {
    name: "an image URL that expired",
    directives: "dialect=url image=expired",
    ...INVALID,
    says: "status 403",
  },
  {
    name: "an image URL that redirects",
    directives: "dialect=url image=redirect",
    ...INVALID,
    says: "status 302",
  },
  {
    name: "an image URL that points inside",
    directives: "dialect=url image=inside",
    ...INVALID,
    says: "not a public https URL",
  },
  { name: "an image URL that fails once", directives: "dialect=url image=flaky", status: 200 },
];

/** The simulator counts by `times`; where it is asked more than once, the last answer is a good one. */
function withRetries(fault: Fault): Fault {
  return fault.status === 200 && fault.calls !== undefined
    ? { ...fault, directives: `${fault.directives} times=${fault.calls - 1}` }
    : fault;
}

describe("a fault of the upstream", () => {
  it.each(FAULTS)("$name", async (fault) => {
    const isAboutTime = fault.code === "upstream_timeout";
    await expectFault(isAboutTime ? impatient : stage, withRetries(fault));
  });

  it("that goes on is given up after two more attempts", async () => {
    const prompt = newPrompt("[upstream status=503]");
    const response = await stage.post({ prompt });
    expect(response.status).toBe(502);
    expect((await read<ErrorBody>(response)).error.code).toBe("upstream_failed");
    expect(response.headers.get("x-should-retry")).toBeNull();
    expect(stage.upstream.received(prompt)).toHaveLength(3);
  });

  it("a success after our timeout is not asked for again by itself, and not taken for a picture", async () => {
    const body = {
      prompt: newPrompt("[upstream delay=2500 times=1]"),
      model: "dall-e-2",
      size: "256x256",
    };
    expect((await impatient.post(body)).status).toBe(504);
    expect(impatient.upstream.received(body.prompt)).toHaveLength(1);
    const again = await impatient.post(body);
    expect(again.status).toBe(200);
    expect(again.headers.get("cache-status")).toBe("darkroom; fwd=miss; stored");
  });
});

describe("an upstream that refuses the connection", () => {
  const lonely = startStage();

  it("is a 502 that no SDK repeats, because nobody can tell it from a cut one", async () => {
    const { upstream, gateway } = lonely;
    await upstream.close();
    const response = await lonely.post({ prompt: newPrompt() });
    expect(response.status).toBe(502);
    expect((await read<ErrorBody>(response)).error.code).toBe("upstream_unreachable");
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect((await gateway.cache.list()).keys).toEqual([]);
  });
});
