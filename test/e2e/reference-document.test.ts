import { Ajv } from "ajv";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { EXAMPLE_BODY, EXAMPLE_HEADERS, RESPONSE_SCHEMA } from "../support/reference-document.ts";
import { read, startStage, type ErrorBody } from "../support/stage.ts";

const stage = startStage();
const isValid = new Ajv().compile(RESPONSE_SCHEMA);

function send(headers: Record<string, string> = {}) {
  return fetch(`${stage.gateway.url}/v1/images/generations`, {
    method: "POST",
    headers: { ...EXAMPLE_HEADERS, ...headers },
    body: EXAMPLE_BODY,
  });
}

describe("the reference document's example request, sent unchanged", () => {
  it("returns a response that matches the document's schema on a miss and on a hit", async () => {
    for (const cache of ["miss; stored", "hit"]) {
      const response = await send();
      expect(response.status).toBe(200);
      expect(response.headers.get("content-type")).toBe("application/json");
      expect(response.headers.get("cache-status")).toContain(cache);
      const body = await read(response);
      expect(isValid(body), JSON.stringify(isValid.errors)).toBe(true);
      expect(body).toMatchObject({ object: "chat.completion", model: "gpt-image-1.5" });
    }
  });

  it("returns a PNG of the requested size", async () => {
    const { data } = await read(await send());
    const metadata = await sharp(Buffer.from(String(data[0]?.b64_json), "base64")).metadata();
    expect(metadata).toMatchObject({ format: "png", width: 1024, height: 1536 });
  });

  it("links the image in the Markdown of the message, for chat front ends", async () => {
    const { data, choices } = await read(await send());
    const [, url] = /^!\[[^\]]*\]\((.+)\)$/.exec(String(choices[0]?.message.content)) ?? [];
    const file = await fetch(String(url));
    expect(file.headers.get("content-type")).toBe("image/png");
    const bytes = Buffer.from(await file.arrayBuffer());
    expect(bytes.toString("base64")).toBe(data[0]?.b64_json);
  });

  it("reports tokens under the document's names and the API's names", async () => {
    const { usage } = await read(await send());
    const { input_tokens, output_tokens, total_tokens } = usage;
    expect(usage).toMatchObject({ prompt_tokens: input_tokens, completion_tokens: output_tokens });
    expect(Number(input_tokens) + Number(output_tokens)).toBe(total_tokens);
    expect(output_tokens).toBe(6240);
  });
});

describe("the reference document's example of an invalid request", () => {
  it("returns an error that names the missing prompt", async () => {
    const response = await stage.post({ n: 1, size: "auto" });
    expect(response.status).toBe(400);
    expect((await read<ErrorBody>(response)).error).toEqual({
      message: "'prompt' is required.",
      type: "invalid_request_error",
      param: "prompt",
      code: "missing_required_parameter",
    });
  });
});

describe("a request for ten images", () => {
  it("returns ten different images in one response, and the same images by URL", async () => {
    const body = { prompt: "ten of them", model: "dall-e-2", size: "256x256", n: 10 };
    const generated = await read(await stage.post({ ...body, response_format: "b64_json" }));
    expect(new Set(generated.data.map((item) => item.b64_json)).size).toBe(10);

    const cached = await read(await stage.post(body));
    const files = await Promise.all(
      cached.data.map(async ({ url }) => {
        const file = await fetch(String(url));
        return Buffer.from(await file.arrayBuffer()).toString("base64");
      }),
    );
    expect(files).toEqual(generated.data.map((item) => item.b64_json));
  });
});
