import { concat } from "./streams.ts";

/** A JSON value whose long base64 strings were decoded while the text was read. */
export interface ExtractedJson<Result> {
  /** The parsed JSON, with a token in place of each extracted string. */
  value: unknown;
  /**
   * Returns the `onBytes` result for a string of `value`. The string is the token of an extracted
   * string, or short base64 with or without a `data:` prefix. Returns `undefined` for invalid base64.
   */
  resultFor: (text: string) => Result | undefined;
}

/** The length from which a string that looks like base64 is extracted. */
const EXTRACT_MIN_CHARS = 1024;
/** The number of characters that are decoded at a time; a multiple of four. */
const DECODE_CHARS = 64 * 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

const DATA_URL_PREFIX = /^data:[\w.+-]+\/[\w.+-]+;base64,/;
/** Base64 inside a JSON string. Encoders that write for HTML escape the slash. */
const BASE64_START = /^(?:data:[\w.+-]+\\?\/[\w.+-]+;base64,)?((?:[A-Za-z0-9+/=]|\\[/rn])+)$/;

/**
 * Parses JSON that contains images as base64, without holding the base64 in memory.
 *
 * A long base64 string is decoded chunk by chunk and replaced by a short token. Only the rest, a few
 * hundred bytes, is passed to `JSON.parse`. Each image goes to `onBytes` as soon as it is complete. So a
 * body with ten images needs the memory of one, and creates no strings of megabytes.
 *
 * @param chunks the body; a chunk is not used after the next one is requested
 * @param onBytes receives the bytes of one string; its result is available from `resultFor`
 * @throws {SyntaxError} if the body is not valid JSON
 */
export async function extractBase64<Result>(
  chunks: AsyncIterable<Uint8Array>,
  onBytes: (bytes: Uint8Array<ArrayBuffer>) => Result,
): Promise<ExtractedJson<Result>> {
  const extractor = new Base64Extractor(onBytes);
  for await (const chunk of chunks) extractor.push(chunk);
  return extractor.end();
}

/**
 * The position in the JSON: outside strings, or in a string that is copied literally, not yet
 * decided, or extracted.
 */
type State = "outside" | "literal" | "undecided" | "extracted";

class Base64Extractor<Result> {
  readonly #onBytes: (bytes: Uint8Array<ArrayBuffer>) => Result;
  /** The results by token. */
  readonly #results = new Map<string, Result | undefined>();
  /** Random, so that an upstream cannot forge a token. */
  readonly #tokenPrefix = crypto.randomUUID();
  readonly #utf8 = new TextEncoder();
  /** The JSON with tokens in place of the extracted strings. */
  readonly #skeleton: Uint8Array[] = [];
  /** The beginning of the undecided string, with its escapes. */
  #undecided: Uint8Array[] = [];
  #undecidedLength = 0;
  #decoder = new Base64Decoder();
  #state: State = "outside";
  /** True if the previous byte was a backslash that escapes the next one. */
  #escaped = false;

  constructor(onBytes: (bytes: Uint8Array<ArrayBuffer>) => Result) {
    this.#onBytes = onBytes;
  }

  push(chunk: Uint8Array): void {
    let position = 0;
    let backslash = -2;
    while (position < chunk.length) {
      if (this.#state === "outside") {
        const quote = chunk.indexOf(QUOTE, position);
        const end = quote === -1 ? chunk.length : quote + 1;
        this.#skeleton.push(chunk.slice(position, end));
        if (quote !== -1) this.#state = "undecided";
        position = end;
        continue;
      }
      if (this.#escaped) {
        this.#escaped = false;
        this.#pushPiece(chunk.subarray(position, position + 1), true);
        position += 1;
        continue;
      }
      const quote = chunk.indexOf(QUOTE, position);
      const end = quote === -1 ? chunk.length : quote;
      // Searches again only after the last match was passed, so that a chunk is scanned only once.
      if (backslash !== -1 && backslash < position) backslash = chunk.indexOf(BACKSLASH, position);
      if (backslash !== -1 && backslash < end) {
        this.#pushPiece(chunk.subarray(position, backslash), false);
        this.#escaped = true;
        position = backslash + 1;
        continue;
      }
      this.#pushPiece(chunk.subarray(position, end), false);
      if (quote !== -1) this.#endString();
      position = end + 1;
    }
  }

  end(): ExtractedJson<Result> {
    const text = new TextDecoder().decode(concat(this.#skeleton));
    return {
      value: JSON.parse(text),
      resultFor: (string) =>
        this.#results.has(string)
          ? this.#results.get(string)
          : this.#resultOf(decodeBase64(string.replace(DATA_URL_PREFIX, ""))),
    };
  }

  #resultOf(bytes: Uint8Array<ArrayBuffer> | undefined): Result | undefined {
    return bytes === undefined ? undefined : this.#onBytes(bytes);
  }

  /**
   * Processes a piece of the current string.
   *
   * @param escaped true if the piece is one byte that follows a backslash
   */
  #pushPiece(piece: Uint8Array, escaped: boolean): void {
    if (this.#state === "extracted") {
      if (escaped) this.#decoder.pushEscape(piece[0]);
      else this.#decoder.push(piece);
      return;
    }
    if (this.#state === "literal") {
      if (escaped) this.#skeleton.push(Uint8Array.of(BACKSLASH));
      this.#skeleton.push(piece.slice());
      return;
    }
    if (escaped) this.#undecided.push(Uint8Array.of(BACKSLASH));
    // Copies no more than the decision needs, because a piece may be a large part of an image.
    const beginning = piece.slice(0, EXTRACT_MIN_CHARS - this.#undecidedLength);
    this.#undecided.push(beginning);
    this.#undecidedLength += beginning.length;
    if (this.#undecidedLength < EXTRACT_MIN_CHARS) return;
    this.#decide();
    if (beginning.length < piece.length) this.#pushPiece(piece.subarray(beginning.length), false);
  }

  #decide(): void {
    const beginning = concat(this.#undecided);
    const base64 = BASE64_START.exec(new TextDecoder().decode(beginning))?.[1];
    this.#undecided = [];
    this.#undecidedLength = 0;
    if (base64 === undefined) {
      this.#state = "literal";
      this.#skeleton.push(beginning);
      return;
    }
    this.#state = "extracted";
    this.#decoder = new Base64Decoder();
    this.#decoder.push(this.#utf8.encode(base64.replaceAll(/\\[rn]/g, "").replaceAll("\\/", "/")));
  }

  #endString(): void {
    if (this.#state === "extracted") {
      const token = `${this.#tokenPrefix}/${this.#results.size}`;
      this.#results.set(token, this.#resultOf(this.#decoder.end()));
      this.#skeleton.push(this.#utf8.encode(token));
    }
    this.#skeleton.push(...this.#undecided, Uint8Array.of(QUOTE));
    this.#undecided = [];
    this.#undecidedLength = 0;
    this.#state = "outside";
  }
}

/** Decodes base64 that arrives in pieces of any length. */
class Base64Decoder {
  readonly #ascii = new TextDecoder();
  readonly #parts: Uint8Array[] = [];
  #text = "";
  #valid = true;

  push(piece: Uint8Array): void {
    if (!this.#valid) return;
    this.#text += this.#ascii.decode(piece);
    if (this.#text.length < DECODE_CHARS) return;
    // The last group is decoded later, because only the last group of the text may be padded.
    const end = this.#text.length - 4 - (this.#text.length % 4);
    this.#decode(this.#text.slice(0, end), "strict");
    this.#text = this.#text.slice(end);
  }

  /** Adds an escaped byte: a slash is part of the base64, a line break is skipped. */
  pushEscape(byte: number | undefined): void {
    if (byte === "/".charCodeAt(0)) this.push(Uint8Array.of(byte));
    else if (byte !== "n".charCodeAt(0) && byte !== "r".charCodeAt(0)) this.#valid = false;
  }

  end(): Uint8Array<ArrayBuffer> | undefined {
    this.#decode(this.#text, "loose");
    return this.#valid ? concat(this.#parts) : undefined;
  }

  #decode(text: string, lastChunkHandling: "strict" | "loose"): void {
    const bytes = fromBase64(text, lastChunkHandling);
    // Padding before the end is invalid.
    if (bytes === undefined || (lastChunkHandling === "strict" && text.endsWith("="))) {
      this.#valid = false;
    } else {
      this.#parts.push(bytes);
    }
  }
}

/** Decodes a complete base64 text; returns `undefined` if it is invalid. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  return fromBase64(text, "loose");
}

function fromBase64(
  text: string,
  lastChunkHandling: "strict" | "loose",
): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling });
  } catch {
    return undefined;
  }
}
