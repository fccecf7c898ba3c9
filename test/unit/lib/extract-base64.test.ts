import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { extractBase64 } from "../../../src/lib/extract-base64.ts";

async function* sliced(text: string, sliceBytes: number): AsyncGenerator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  // One buffer for all chunks, as a stream's reader has: what is kept must be copied.
  const buffer = new Uint8Array(sliceBytes);
  for (let start = 0; start < bytes.length; start += sliceBytes) {
    const piece = bytes.subarray(start, start + sliceBytes);
    buffer.set(piece);
    yield buffer.subarray(0, piece.length);
  }
}

function lift(text: string, sliceBytes = 1 << 16) {
  return extractBase64(sliced(text, sliceBytes), (bytes) => bytes);
}

function randomPicture(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let start = 0; start < length; start += 65_536) {
    crypto.getRandomValues(bytes.subarray(start, start + 65_536));
  }
  return bytes;
}

async function pictureIn(text: string, sliceBytes?: number) {
  const { value, resultFor } = await lift(text, sliceBytes);
  return resultFor((value as { b64_json: string }).b64_json);
}

describe("a picture in JSON", () => {
  it.each([1, 2, 3, 700, 768, 769, 49_152, 49_153, 200_000])(
    "of %i bytes comes out whole",
    async (length) => {
      const picture = randomPicture(length);
      const text = JSON.stringify({ b64_json: picture.toBase64() });
      expect(await pictureIn(text)).toEqual(picture);
    },
  );

  it("comes out the same however the body is cut", async () => {
    const picture = randomPicture(70_000);
    const text = JSON.stringify({ a: 'x"\\', b64_json: picture.toBase64(), z: ["é🦊"] });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 5000 }), async (sliceBytes) => {
        const { value, resultFor } = await lift(text, sliceBytes);
        const { b64_json, ...rest } = value as { b64_json: string };
        expect(resultFor(b64_json)?.toBase64()).toBe(picture.toBase64());
        expect(rest).toEqual({ a: 'x"\\', z: ["é🦊"] });
      }),
      { numRuns: 30, examples: [[1], [2], [3], [4]] },
    );
  });

  it("may be a data: URL", async () => {
    const picture = randomPicture(5000);
    const b64_json = `data:image/png;base64,${picture.toBase64()}`;
    expect(await pictureIn(JSON.stringify({ b64_json }))).toEqual(picture);
  });

  it.each([1, 7, 4096, 1 << 16])("may have escaped solidi, in slices of %i", async (sliceBytes) => {
    const picture = randomPicture(90_000);
    const b64_json = `data:image/png;base64,${picture.toBase64()}`;
    const text = JSON.stringify({ b64_json }).replaceAll("/", "\\/");
    expect(await pictureIn(text, sliceBytes)).toEqual(picture);
  });

  it("may have line breaks, as MIME has", async () => {
    const picture = randomPicture(9000);
    const b64_json = picture.toBase64().replaceAll(/.{76}/g, "$&\r\n");
    expect(await pictureIn(JSON.stringify({ b64_json }))).toEqual(picture);
  });

  it.each([
    [
      "a foreign character",
      (base64: string) => `${base64.slice(0, 90_000)}*${base64.slice(90_001)}`,
    ],
    ["padding in the middle", (base64: string) => `${base64.slice(0, 65_532)}AA==${base64}`],
    ["an escape that is none of base64's", (base64: string) => `${base64}\t`],
    ["a single left-over character", (base64: string) => `${base64.replaceAll("=", "")}A`],
    ["text that is no base64", () => "no picture!"],
  ])("is none with %s", async (_, spoil) => {
    const base64 = randomPicture(90_000).toBase64();
    expect(await pictureIn(JSON.stringify({ b64_json: spoil(base64) }))).toBeUndefined();
  });

  it("is handed on as soon as it is whole, before the next one is read", async () => {
    const pictures = Array.from({ length: 10 }, () => randomPicture(3000));
    const kept: Uint8Array[] = [];
    async function* body(): AsyncGenerator<Uint8Array> {
      yield new TextEncoder().encode('{"data":[');
      for (const [index, picture] of pictures.entries()) {
        expect(kept).toEqual(pictures.slice(0, index));
        const separator = index === 0 ? "" : ",";
        yield new TextEncoder().encode(`${separator}{"b64_json":"${picture.toBase64()}"}`);
      }
      yield new TextEncoder().encode("]}");
    }
    await extractBase64(body(), (bytes) => kept.push(bytes));
    expect(kept).toEqual(pictures);
  });

  it("keeps pictures apart", async () => {
    const pictures = [randomPicture(5000), randomPicture(6000), randomPicture(10)];
    const text = JSON.stringify({ data: pictures.map((picture) => ({ b: picture.toBase64() })) });
    const { value, resultFor } = await lift(text, 1000);
    const { data } = value as { data: { b: string }[] };
    expect(data.map(({ b }) => resultFor(b))).toEqual(pictures);
  });
});

describe("everything else", () => {
  it("is what JSON.parse says, for any value cut anywhere", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.jsonValue(),
        fc.integer({ min: 1, max: 64 }),
        async (value, sliceBytes) => {
          const text = JSON.stringify(value);
          expect((await lift(text, sliceBytes)).value).toEqual(JSON.parse(text));
        },
      ),
    );
  });

  it("stays as it is, long text too", async () => {
    const text = 'word \\ " \n é '.repeat(500);
    expect((await lift(JSON.stringify({ text }), 100)).value).toEqual({ text });
  });

  it.each(["", "{", '{"a":"b', "<html>", '{"a":1}}', `{"b":"${"A".repeat(5000)}`])(
    "is a SyntaxError where it is no JSON: %s",
    async (text) => {
      await expect(lift(text)).rejects.toThrow(SyntaxError);
    },
  );

  it("cannot forge a lifted string", async () => {
    const { resultFor } = await lift(JSON.stringify({ b: randomPicture(5000).toBase64() }));
    expect(resultFor(`${crypto.randomUUID()}/0`)).toBeUndefined();
  });
});
