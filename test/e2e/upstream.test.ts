import { describe, expect, it } from "vitest";
import { newPrompt, read, stage, type ErrorAnswer } from "./stage.ts";

const theStage = stage();

const SMALL = { model: "dall-e-2", size: "256x256", response_format: "b64_json" };

function post(directives: string, body: object = SMALL) {
  const prompt = newPrompt(`[upstream ${directives}]`);
  return { prompt, response: theStage.post({ ...body, prompt }) };
}

describe("every dialect of an upstream becomes the same answer", () => {
  it.each(["b64", "url", "chat-markdown", "chat-url", "chat-data"])("%s", async (dialect) => {
    const response = await post(`dialect=${dialect}`, { ...SMALL, n: 2 }).response;
    const { data, choices } = await read(response);
    expect(response.status).toBe(200);
    expect(data.map((item) => item.b64_json?.slice(0, 11))).toEqual(["iVBORw0KGgo", "iVBORw0KGgo"]);
    expect(data[0]).not.toEqual(data[1]);
    expect(choices).toHaveLength(2);
  });

  it.each(["jpeg", "webp", "png"])(
    "and every format is known by its signature: %s",
    async (format) => {
      const body = { model: "gpt-image-1.5", output_format: format, response_format: "url" };
      const { data } = await read(await post("dialect=url", body).response);
      expect(data[0]?.url).toMatch(new RegExp(`/0\\.${format}$`));
      const file = await fetch(String(data[0]?.url));
      expect(file.headers.get("content-type")).toBe(`image/${format}`);
    },
  );

  it("with escaped solidi, as PHP writes them", async () => {
    const { response } = post("answer=escaped");
    expect((await response).status).toBe(200);
  });

  it("in slices of a few bytes", async () => {
    const plain = await read(await post("").response);
    expect(plain.data).toHaveLength(1);
    expect((await post("slice=1000").response).status).toBe(200);
  });

  it("with more pictures than were asked for, or fewer", async () => {
    const more = await read(await post("images=3").response);
    expect(more.data).toHaveLength(1);
    const fewer = await read(await post("images=1", { ...SMALL, n: 3 }).response);
    expect(fewer.data).toHaveLength(1);
    expect(fewer.choices).toHaveLength(1);
  });

  it("of many megabytes", async () => {
    const { response } = post("bytes=6000000", { ...SMALL, n: 4 });
    const { data } = await read(await response);
    expect(data.map((item) => Buffer.from(String(item.b64_json), "base64").length)).toEqual(
      Array.from({ length: 4 }, () => 6_000_000),
    );
  });
});

describe("a picture that the upstream gives by URL", () => {
  it("is fetched without the key", async () => {
    await post("dialect=url").response;
    expect(theStage.upstream.fetched.at(-1)?.headers).not.toHaveProperty("authorization");
  });

  it("is asked for again when that fails, because that costs nothing", async () => {
    const { prompt, response } = post("dialect=url picture=flaky");
    expect((await response).status).toBe(200);
    expect(theStage.upstream.received(prompt)).toHaveLength(1);
  });

  it.each(["expired", "redirect"])("is lost when it is %s", async (picture) => {
    const response = await post(`dialect=url picture=${picture}`).response;
    expect(response.status).toBe(502);
    expect((await read<ErrorAnswer>(response)).error.code).toBe("upstream_invalid_response");
  });
});

describe("an answer that is no picture", () => {
  it.each([
    ["answer=html", "it is no JSON"],
    ["answer=empty", "it is no JSON"],
    ["answer=truncated", "it is no JSON"],
    ["answer=no-images", "it holds no picture"],
    ["answer=bad-base64", "not valid base64"],
    ["answer=svg", "neither PNG nor JPEG nor WebP"],
    ["answer=html-as-png", "neither PNG nor JPEG nor WebP"],
    ["reset=body", "it broke off"],
    ["bytes=27000000", "too large"],
    ["bytes=60000000", "too large"],
  ])("%s is a 502 that says why, and is not kept", async (directives, reason) => {
    const { prompt, response } = post(directives);
    const { status, headers } = await response;
    expect(status).toBe(502);
    expect(headers.get("x-should-retry")).toBe("false");
    const { error } = await read<ErrorAnswer>(await response);
    expect(error).toMatchObject({ type: "upstream_error", code: "upstream_invalid_response" });
    expect(error.message).toContain(reason);
    expect(theStage.upstream.received(prompt)).toHaveLength(1);
    const { keys } = await theStage.gateway.cache.list({ prefix: "request/" });
    await theStage.post({ ...SMALL, prompt });
    expect((await theStage.gateway.cache.list({ prefix: "request/" })).keys).toHaveLength(
      keys.length,
    );
  });
});

describe("an upstream that refuses", () => {
  it.each([
    ["status=400", 400, "invalid_request_error", "some_code"],
    ["status=404 error=string", 404, "invalid_request_error", null],
    ["status=422 error=text", 422, "invalid_request_error", null],
    ["status=409 error=html", 409, "invalid_request_error", null],
    ["status=401", 502, "upstream_error", "upstream_unauthorized"],
    ["status=403", 502, "upstream_error", "upstream_unauthorized"],
    ["status=504", 502, "upstream_error", "upstream_failed"],
    ["status=524", 502, "upstream_error", "upstream_failed"],
    ["status=307", 502, "upstream_error", "upstream_invalid_response"],
    ["reset=before", 502, "upstream_error", "upstream_unreachable"],
  ])("with %s is %i %s %s, and asked once", async (directives, status, type, code) => {
    const { prompt, response } = post(directives);
    expect((await response).status).toBe(status);
    expect((await read<ErrorAnswer>(await response)).error).toMatchObject({ type, code });
    expect(theStage.upstream.received(prompt)).toHaveLength(1);
  });

  it.each([
    ["status=500", 502, "upstream_failed"],
    ["status=429 retry-after=0", 429, "upstream_rate_limited"],
  ])("with %s is asked three times", async (directives, status, code) => {
    const { prompt, response } = post(directives);
    expect((await response).status).toBe(status);
    expect((await read<ErrorAnswer>(await response)).error.code).toBe(code);
    expect(theStage.upstream.received(prompt)).toHaveLength(3);
  });

  it("and asks for a long wait has it passed on to the client", async () => {
    const { prompt, response } = post("status=429 retry-after=120");
    expect((await response).status).toBe(429);
    expect((await response).headers.get("retry-after")).toBe("120");
    expect(theStage.upstream.received(prompt)).toHaveLength(1);
  });

  it("once may be asked again by the next request", async () => {
    const { prompt, response } = post("status=400 times=1");
    expect((await response).status).toBe(400);
    expect((await theStage.post({ ...SMALL, prompt })).status).toBe(200);
  });
});

describe("an upstream that is not there", () => {
  it("is a 502", async () => {
    const { upstream } = theStage;
    await upstream.close();
    const response = await theStage.post({ ...SMALL, prompt: newPrompt() });
    expect(response.status).toBe(502);
    expect((await read<ErrorAnswer>(response)).error.code).toBe("upstream_unreachable");
  });
});
