import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ByteWriter } from "../../../src/lib/base64-decoder.ts";
import { extractBase64, TooMuchText } from "../../../src/lib/extract-base64.ts";
import { concat } from "../../../src/lib/streams.ts";

async function* sliced(text: string, sliceBytes: number): AsyncGenerator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  // One buffer for all chunks, as a stream's reader has, so the extractor must copy the bytes.
  const buffer = new Uint8Array(sliceBytes);
  for (let start = 0; start < bytes.length; start += sliceBytes) {
    const chunk = bytes.subarray(start, start + sliceBytes);
    buffer.set(chunk);
    yield buffer.subarray(0, chunk.length);
  }
}

/** The largest text of a test. */
const TEXT_MAX_BYTES = 1 << 20;

/** A string that was written, and how its writing ended. */
interface Written {
  pieces: Uint8Array[];
  state: "open" | "ended" | "aborted";
}

/**
 * Returns the options of an extraction that keeps what is written.
 *
 * @param neededBytes the number of bytes after which a writer needs no more
 */
function recorder(neededBytes = Number.POSITIVE_INFINITY) {
  const written: Written[] = [];
  const open = (): ByteWriter<Uint8Array<ArrayBuffer>> => {
    const each: Written = { pieces: [], state: "open" };
    written.push(each);
    return {
      write(bytes) {
        each.pieces.push(bytes);
        return concat(each.pieces).byteLength < neededBytes;
      },
      end() {
        each.state = "ended";
        return concat(each.pieces);
      },
      abort() {
        each.state = "aborted";
      },
    };
  };
  return { written, options: { open, textMaxBytes: TEXT_MAX_BYTES } };
}

function extract(text: string, sliceBytes = 1 << 16) {
  return extractBase64(sliced(text, sliceBytes), recorder().options);
}

function randomImage(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let start = 0; start < length; start += 65_536) {
    crypto.getRandomValues(bytes.subarray(start, start + 65_536));
  }
  return bytes;
}

async function imageIn(text: string, sliceBytes?: number) {
  const { value, resultFor } = await extract(text, sliceBytes);
  return resultFor((value as { b64_json: string }).b64_json);
}

describe("extractBase64", () => {
  it.each([1, 2, 3, 700, 768, 769, 49_152, 49_153, 200_000])(
    "extracts an image of %i bytes",
    async (length) => {
      const image = randomImage(length);
      const text = JSON.stringify({ b64_json: image.toBase64() });
      expect(await imageIn(text)).toEqual(image);
    },
  );

  it("extracts the same image however the body is split into chunks", async () => {
    const image = randomImage(70_000);
    const text = JSON.stringify({ a: 'x"\\', b64_json: image.toBase64(), z: ["é🦊"] });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 5000 }), async (sliceBytes) => {
        const { value, resultFor } = await extract(text, sliceBytes);
        const { b64_json, ...rest } = value as { b64_json: string };
        expect(resultFor(b64_json)?.toBase64()).toBe(image.toBase64());
        expect(rest).toEqual({ a: 'x"\\', z: ["é🦊"] });
      }),
      { numRuns: 30, examples: [[1], [2], [3], [4]] },
    );
  });

  it("extracts an image from a data: URL", async () => {
    const image = randomImage(5000);
    const b64_json = `data:image/png;base64,${image.toBase64()}`;
    expect(await imageIn(JSON.stringify({ b64_json }))).toEqual(image);
  });

  it.each([1, 7, 4096, 1 << 16])(
    "extracts an image with escaped slashes from chunks of %i bytes",
    async (sliceBytes) => {
      const image = randomImage(90_000);
      const b64_json = `data:image/png;base64,${image.toBase64()}`;
      const text = JSON.stringify({ b64_json }).replaceAll("/", "\\/");
      expect(await imageIn(text, sliceBytes)).toEqual(image);
    },
  );

  it("extracts an image with the line breaks of MIME", async () => {
    const image = randomImage(9000);
    const b64_json = image.toBase64().replaceAll(/.{76}/g, "$&\r\n");
    expect(await imageIn(JSON.stringify({ b64_json }))).toEqual(image);
  });

  it.each([
    [
      "base64 with a foreign character",
      (base64: string) => `${base64.slice(0, 90_000)}*${base64.slice(90_001)}`,
    ],
    [
      "base64 with padding in the middle",
      (base64: string) => `${base64.slice(0, 65_532)}AA==${base64}`,
    ],
    ["base64 with an escaped tab", (base64: string) => `${base64}\t`],
    ["base64 with one leftover character", (base64: string) => `${base64.replaceAll("=", "")}A`],
    ["text that is not base64", () => "no image!"],
  ])("returns no image for %s", async (_, corrupt) => {
    const base64 = randomImage(90_000).toBase64();
    expect(await imageIn(JSON.stringify({ b64_json: corrupt(base64) }))).toBeUndefined();
  });

  it("passes on each image as soon as it is complete, before it reads the next one", async () => {
    const images = Array.from({ length: 10 }, () => randomImage(3000));
    const { written, options } = recorder();
    const extracted = () => written.map(({ pieces }) => concat(pieces));
    async function* body(): AsyncGenerator<Uint8Array> {
      yield new TextEncoder().encode('{"data":[');
      for (const [index, image] of images.entries()) {
        expect(extracted()).toEqual(images.slice(0, index));
        const separator = index === 0 ? "" : ",";
        yield new TextEncoder().encode(`${separator}{"b64_json":"${image.toBase64()}"}`);
      }
      yield new TextEncoder().encode("]}");
    }
    await extractBase64(body(), options);
    expect(extracted()).toEqual(images);
  });

  it("writes an image in pieces while it is read", async () => {
    const image = randomImage(500_000);
    const { written, options } = recorder();
    const text = `{"b64_json":"${image.toBase64()}`;
    await expect(extractBase64(sliced(text, 10_000), options)).rejects.toThrow(SyntaxError);
    const pieces = written[0]?.pieces ?? [];
    const lengths = pieces.map((piece) => piece.byteLength);
    expect(Math.max(...lengths)).toBeLessThan(70_000);
    const start = concat(pieces);
    expect(start.byteLength).toBeGreaterThan(400_000);
    expect(start).toEqual(image.subarray(0, start.byteLength));
  });

  it("aborts the writer of an image that is cut", async () => {
    const { written, options } = recorder();
    async function* body(): AsyncGenerator<Uint8Array> {
      yield new TextEncoder().encode(`{"b64_json":"${randomImage(200_000).toBase64()}`);
      throw new Error("cut");
    }
    await expect(extractBase64(body(), options)).rejects.toThrow("cut");
    expect(written.map(({ state }) => state)).toEqual(["aborted"]);
  });

  it("aborts the writer of an image that is not base64, and goes on with the next one", async () => {
    const { written, options } = recorder();
    const bad = `${randomImage(90_000).toBase64()}*${randomImage(90_000).toBase64()}`;
    const good = randomImage(5000);
    const text = JSON.stringify([bad, good.toBase64()]);
    const { value, resultFor } = await extractBase64(sliced(text, 1000), options);
    expect((value as string[]).map((each) => resultFor(each))).toEqual([undefined, good]);
    expect(written.map(({ state }) => state)).toEqual(["aborted", "ended"]);
  });

  it("skips the rest of an image that its writer does not need", async () => {
    const { written, options } = recorder(100_000);
    const good = randomImage(5000);
    const text = JSON.stringify([`${randomImage(900_000).toBase64()}*`, good.toBase64()]);
    const { value, resultFor } = await extractBase64(sliced(text, 1000), options);
    const [first = "", second = ""] = value as string[];
    expect(resultFor(first)?.byteLength).toBeLessThan(200_000);
    expect(resultFor(second)).toEqual(good);
    expect(written.map(({ state }) => state)).toEqual(["ended", "ended"]);
  });

  it.each([1, 7, 4096, 1 << 16])(
    "extracts an image with Unicode escapes from chunks of %i bytes",
    async (sliceBytes) => {
      const image = randomImage(90_001);
      const text = JSON.stringify({ b64_json: image.toBase64() })
        .replaceAll("+", "\\u002B")
        .replaceAll("/", "\\u002f")
        .replaceAll("=", "\\u003D");
      expect(await imageIn(text, sliceBytes)).toEqual(image);
    },
  );

  it("extracts the `data:` URLs of Markdown images, however the text is split", async () => {
    const images = [randomImage(60_000), randomImage(5001)];
    const urls = images.map((image) => `data:image/png;base64,${image.toBase64()}`);
    const content = `Here:\n![a "b"](${urls[0]})\n\nand\n\n![](${urls[1]}) é`;
    const text = JSON.stringify({ content, other: urls[1] });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 5000 }), async (sliceBytes) => {
        const { written, options } = recorder();
        const { value, resultFor } = await extractBase64(sliced(text, sliceBytes), options);
        const { content: rest, other } = value as { content: string; other: string };
        const [, first = "", second = ""] =
          /^Here:\n!\[a "b"\]\((\S+)\)\n\nand\n\n!\[\]\((\S+)\) é$/.exec(rest) ?? [];
        expect([first, second, other].map((each) => resultFor(each))).toEqual([
          ...images,
          images[1],
        ]);
        expect(written).toHaveLength(3);
      }),
      { numRuns: 30, examples: [[1], [2], [3]] },
    );
  });

  it("extracts several images separately", async () => {
    const images = [randomImage(5000), randomImage(6000), randomImage(10)];
    const text = JSON.stringify({ data: images.map((image) => ({ b: image.toBase64() })) });
    const { value, resultFor } = await extract(text, 1000);
    const { data } = value as { data: { b: string }[] };
    expect(data.map(({ b }) => resultFor(b))).toEqual(images);
  });
});

describe("the rest of the JSON", () => {
  it("equals the result of JSON.parse for any value, wherever it is split", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.jsonValue(),
        fc.integer({ min: 1, max: 64 }),
        async (value, sliceBytes) => {
          const text = JSON.stringify(value);
          expect((await extract(text, sliceBytes)).value).toEqual(JSON.parse(text));
        },
      ),
    );
  });

  it("keeps a long text of escapes unchanged", async () => {
    const text = "中文".repeat(2000);
    const json = JSON.stringify({ text }).replaceAll(
      /[中文]/g,
      (character) => String.raw`\u${character.charCodeAt(0).toString(16)}`,
    );
    expect((await extract(json, 100)).value).toEqual({ text });
  });

  it.each([
    ["in a string", (length: number) => JSON.stringify({ text: "a ".repeat(length / 2) })],
    ["in many strings", (length: number) => `[${'"",'.repeat(length / 3)}""]`],
    ["outside strings", (length: number) => `[${"0,".repeat(length / 2)}0]`],
  ])("is at most as large as the limit: %s", async (_, textOf) => {
    expect((await extract(textOf(TEXT_MAX_BYTES - 100))).value).toBeTypeOf("object");
    await expect(extract(textOf(TEXT_MAX_BYTES + 100))).rejects.toThrow(TooMuchText);
  });

  it("keeps long text unchanged", async () => {
    const text = 'word \\ " \n é '.repeat(500);
    expect((await extract(JSON.stringify({ text }), 100)).value).toEqual({ text });
  });

  it.each(["", "{", '{"a":"b', "<html>", '{"a":1}}', `{"b":"${"A".repeat(5000)}`])(
    "throws a SyntaxError if it is not valid JSON: %s",
    async (text) => {
      await expect(extract(text)).rejects.toThrow(SyntaxError);
    },
  );

  it("cannot forge a reference to an extracted image", async () => {
    const { resultFor } = await extract(JSON.stringify({ b: randomImage(5000).toBase64() }));
    expect(resultFor(`${crypto.randomUUID()}/0`)).toBeUndefined();
  });
});
