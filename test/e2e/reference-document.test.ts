import { Ajv } from "ajv";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { EXAMPLE_BODY, EXAMPLE_HEADERS, RESPONSE_SCHEMA } from "../support/reference-document.ts";
import { read, stage, type ErrorAnswer } from "../support/stage.ts";

const theStage = stage();
const isValid = new Ajv().compile(RESPONSE_SCHEMA);

function send(headers: Record<string, string> = {}) {
  return fetch(`${theStage.gateway.url}/v1/images/generations`, {
    method: "POST",
    headers: { ...EXAMPLE_HEADERS, ...headers },
    body: EXAMPLE_BODY,
  });
}

describe("the reference document's example, word for word", () => {
  it("is answered as its schema says, made or found", async () => {
    for (const cache of ["miss; stored", "hit"]) {
      const response = await send();
      expect(response.status).toBe(200);
      expect(response.headers.get("content-type")).toBe("application/json");
      expect(response.headers.get("cache-status")).toContain(cache);
      const answer = await read(response);
      expect(isValid(answer), JSON.stringify(isValid.errors)).toBe(true);
      expect(answer).toMatchObject({ object: "chat.completion", model: "gpt-image-1.5" });
    }
  });

  it("gives a picture of the size that was asked for", async () => {
    const { data } = await read(await send());
    const picture = await sharp(Buffer.from(String(data[0]?.b64_json), "base64")).metadata();
    expect(picture).toMatchObject({ format: "png", width: 1024, height: 1536 });
  });

  it("shows the picture in a chat front end, by the Markdown in its content", async () => {
    const { data, choices } = await read(await send());
    const [, url] = /^!\[[^\]]*\]\((.+)\)$/.exec(String(choices[0]?.message.content)) ?? [];
    const file = await fetch(String(url));
    expect(file.headers.get("content-type")).toBe("image/png");
    const bytes = Buffer.from(await file.arrayBuffer());
    expect(bytes.toString("base64")).toBe(data[0]?.b64_json);
  });

  it("counts tokens under the document's names and the API's", async () => {
    const { usage } = await read(await send());
    const { input_tokens, output_tokens, total_tokens } = usage;
    expect(usage).toMatchObject({ prompt_tokens: input_tokens, completion_tokens: output_tokens });
    expect(Number(input_tokens) + Number(output_tokens)).toBe(total_tokens);
    expect(output_tokens).toBe(6240);
  });
});

describe("the document's example of a wrong request", () => {
  it("is answered by an error that says what is missing", async () => {
    const response = await theStage.post({ n: 1, size: "auto" });
    expect(response.status).toBe(400);
    expect((await read<ErrorAnswer>(response)).error).toEqual({
      message: "'prompt' is required.",
      type: "invalid_request_error",
      param: "prompt",
      code: "missing_required_parameter",
    });
  });
});

describe("any number of pictures", () => {
  it("up to ten come in one answer, each another one, and can be had by URL", async () => {
    const body = { prompt: "ten of them", model: "dall-e-2", size: "256x256", n: 10 };
    const made = await read(await theStage.post({ ...body, response_format: "b64_json" }));
    expect(new Set(made.data.map((item) => item.b64_json)).size).toBe(10);

    const found = await read(await theStage.post(body));
    const files = await Promise.all(
      found.data.map(async ({ url }) => {
        const file = await fetch(String(url));
        return Buffer.from(await file.arrayBuffer()).toString("base64");
      }),
    );
    expect(files).toEqual(made.data.map((item) => item.b64_json));
  });
});
