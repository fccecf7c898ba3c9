import { describe, expect, it } from "vitest";
import { read, startStage } from "../support/stage.ts";
import { newPrompt, SMALL_BASE64 as SMALL } from "../support/bodies.ts";

const stage = startStage();

function post(directives: string, body: object = SMALL) {
  const prompt = newPrompt(`[upstream ${directives}]`);
  return { prompt, response: stage.post({ ...body, prompt }) };
}

describe("a response of the upstream", () => {
  it.each(["b64", "url", "chat-markdown", "chat-url", "chat-data"])(
    "is converted to base64 data and one choice per image from %s",
    async (dialect) => {
      const response = await post(`dialect=${dialect}`, { ...SMALL, n: 2 }).response;
      const { data, choices } = await read(response);
      expect(response.status).toBe(200);
      expect(data.map((item) => item.b64_json?.slice(0, 11))).toEqual([
        "iVBORw0KGgo",
        "iVBORw0KGgo",
      ]);
      expect(data[0]).not.toEqual(data[1]);
      expect(choices).toHaveLength(2);
    },
  );

  it.each(["jpeg", "webp", "png"])(
    "is stored in the format of its bytes, in the URL and the content type: %s",
    async (format) => {
      const body = { model: "gpt-image-1.5", output_format: format, response_format: "url" };
      const { data } = await read(await post("dialect=url", body).response);
      expect(data[0]?.url).toMatch(new RegExp(`/0\\.${format}$`));
      const file = await fetch(String(data[0]?.url));
      expect(file.headers.get("content-type")).toBe(`image/${format}`);
    },
  );

  it("is accepted with escaped slashes, as PHP writes them", async () => {
    const { response } = post("answer=escaped");
    expect((await response).status).toBe(200);
  });

  it("is accepted in chunks of 1000 bytes", async () => {
    const plain = await read(await post("").response);
    expect(plain.data).toHaveLength(1);
    expect((await post("slice=1000").response).status).toBe(200);
  });

  it("is cut to n images if it has more, and accepted if it has fewer", async () => {
    const more = await read(await post("images=3").response);
    expect(more.data).toHaveLength(1);
    const fewer = await read(await post("images=1", { ...SMALL, n: 3 }).response);
    expect(fewer.data).toHaveLength(1);
    expect(fewer.choices).toHaveLength(1);
  });

  it("is accepted with four images of 6 MB each", async () => {
    const { response } = post("bytes=6000000", { ...SMALL, n: 4 });
    const { data } = await read(await response);
    expect(data.map((item) => Buffer.from(String(item.b64_json), "base64").length)).toEqual(
      Array.from({ length: 4 }, () => 6_000_000),
    );
  });
});

describe("an image that the upstream returns as a URL", () => {
  it("is fetched without the API key", async () => {
    await post("dialect=url").response;
    expect(stage.upstream.fetched.at(-1)?.headers).not.toHaveProperty("authorization");
  });

  it("is fetched again if the fetch fails, without a second generation", async () => {
    const { prompt, response } = post("dialect=url image=flaky");
    expect((await response).status).toBe(200);
    expect(stage.upstream.received(prompt)).toHaveLength(1);
  });
});
