import { Base64Decoder, writeBase64, type ByteWriter } from "./base64-decoder.ts";
import { GrowingBytes } from "./growing-bytes.ts";

/** A JSON value whose long base64 strings were decoded while the text was read. */
export interface ExtractedJson<Result> {
  /** The parsed JSON, with a token in place of each extracted string. */
  value: unknown;
  /**
   * Returns the result of the writer for a string of `value`. The string is the token of an extracted string,
   * or short base64 with or without a `data:` prefix. Returns `undefined` for invalid base64.
   */
  resultFor: (text: string) => Result | undefined;
}

/** Thrown if the text besides the extracted strings has more bytes than the limit. The rest was not read. */
export class TooMuchText extends Error {
  override readonly name = "TooMuchText";
}

/** How to extract. */
export interface ExtractOptions<Result> {
  /** Opens the writer of one string. It ends, or is aborted, before the next one is opened. */
  open: () => ByteWriter<Result>;
  /** The limit of the text besides the extracted strings, in bytes. It is held in memory. */
  textMaxBytes: number;
}

/** The length from which a string that looks like base64 is extracted. */
const EXTRACT_MIN_CHARS = 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const PARENTHESIS = 0x29;

const DATA_URL_PREFIX = /^data:[\w.+-]+\/[\w.+-]+;base64,/;
/**
 * The beginning of a string with base64: text up to a Markdown image, the prefix of a `data:` URL, and base64.
 * Without Markdown, the whole string is base64. Encoders that write for HTML escape the slash or, as
 * `\u002B`, the plus sign. The last escape may not be complete.
 */
const BASE64_START = new RegExp(
  [
    /^(?:(?<markdown>[^]*!\[[^[\]]*\]\()?data:[\w.+-]+\\?\/[\w.+-]+;base64,)?/,
    /(?<base64>(?:[A-Za-z0-9+/=]|\\(?:[/rn]|u00(?:2[BFbf]|3[Dd])))+(?:\\u(?:0(?:0[23]?)?)?)?)$/,
  ]
    .map(({ source }) => source)
    .join(""),
);

/**
 * Parses JSON that contains images as base64, without holding an image in memory.
 *
 * A long base64 string, or a long `data:` URL in a Markdown image, is decoded chunk by chunk and replaced by a
 * short token. Only the rest, a few hundred bytes, is passed to `JSON.parse`. The bytes go to a writer as they
 * are decoded. So a body with ten images creates no arrays and no strings of megabytes.
 *
 * @param chunks the body; a chunk is not used after the next one is requested
 * @throws {SyntaxError} if the body is not valid JSON
 * @throws {TooMuchText} if the rest is too large
 */
export async function extractBase64<Result>(
  chunks: AsyncIterable<Uint8Array>,
  options: ExtractOptions<Result>,
): Promise<ExtractedJson<Result>> {
  const extractor = new Base64Extractor(options);
  try {
    for await (const chunk of chunks) extractor.push(chunk);
    return extractor.end();
  } catch (error) {
    extractor.abort();
    throw error;
  }
}

/**
 * The position in the JSON: outside strings, or in a string that is copied literally, not yet
 * decided, or extracted.
 */
type State = "outside" | "literal" | "undecided" | "extracted";

class Base64Extractor<Result> {
  readonly #open: () => ByteWriter<Result>;
  /** The results by token. */
  readonly #results = new Map<string, Result | undefined>();
  /** Random, so that an upstream cannot forge a token. */
  readonly #tokenPrefix = crypto.randomUUID();
  readonly #utf8 = new TextEncoder();
  /** The JSON with tokens in place of the extracted strings. */
  readonly #skeleton: GrowingBytes;
  /** The beginning of the undecided string, with its escapes. */
  readonly #undecided = new GrowingBytes(2 * EXTRACT_MIN_CHARS);
  /** Its length without the backslashes. */
  #undecidedLength = 0;
  /** The decoder of the extracted string. */
  #decoder: Base64Decoder<Result> | undefined;
  /** True if the extracted base64 is a part of its string, which a parenthesis ends. */
  #isInMarkdown = false;
  #state: State = "outside";
  /** True if the previous byte was a backslash that escapes the next one. */
  #escaped = false;

  constructor({ open, textMaxBytes }: ExtractOptions<Result>) {
    this.#open = open;
    this.#skeleton = new GrowingBytes(textMaxBytes);
  }

  push(chunk: Uint8Array): void {
    let position = 0;
    let backslash = -2;
    while (position < chunk.length) {
      if (this.#state === "outside") {
        const quote = chunk.indexOf(QUOTE, position);
        const end = quote === -1 ? chunk.length : quote + 1;
        this.#copy(chunk.subarray(position, end));
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
    const value: unknown = JSON.parse(new TextDecoder().decode(this.#skeleton.bytes()));
    return {
      value,
      resultFor: (string) =>
        this.#results.has(string)
          ? this.#results.get(string)
          : writeBase64(string.replace(DATA_URL_PREFIX, ""), this.#open()),
    };
  }

  /** Aborts the writer of a string that the body does not complete. */
  abort(): void {
    this.#decoder?.abort();
  }

  /** Copies bytes to the skeleton. */
  #copy(bytes: Uint8Array): void {
    if (!this.#skeleton.append(bytes)) throw new TooMuchText();
  }

  /**
   * Processes a piece of the current string.
   *
   * @param escaped true if the piece is one byte that follows a backslash
   */
  #pushPiece(piece: Uint8Array, escaped: boolean): void {
    if (this.#decoder !== undefined) {
      this.#pushExtracted(this.#decoder, piece, escaped);
      return;
    }
    if (this.#state === "literal") {
      if (escaped) this.#copy(Uint8Array.of(BACKSLASH));
      this.#copy(piece);
      return;
    }
    if (escaped) this.#undecided.append(Uint8Array.of(BACKSLASH));
    // Copies no more than the decision needs, because a piece may be a large part of an image.
    const beginning = piece.subarray(0, EXTRACT_MIN_CHARS - this.#undecidedLength);
    this.#undecided.append(beginning);
    this.#undecidedLength += beginning.length;
    if (this.#undecidedLength < EXTRACT_MIN_CHARS) return;
    this.#decide();
    if (beginning.length < piece.length) this.#pushPiece(piece.subarray(beginning.length), false);
  }

  #pushExtracted(decoder: Base64Decoder<Result>, piece: Uint8Array, escaped: boolean): void {
    const end = this.#isInMarkdown && !escaped ? piece.indexOf(PARENTHESIS) : -1;
    if (escaped) decoder.pushEscape(piece[0]);
    else decoder.push(end === -1 ? piece : piece.subarray(0, end));
    if (end === -1) return;
    this.#endExtracted(decoder);
    this.#state = "undecided";
    this.#pushPiece(piece.subarray(end), false);
  }

  #decide(): void {
    const beginning = this.#undecided.bytes();
    const text = new TextDecoder().decode(beginning);
    const { markdown, base64 } = BASE64_START.exec(text)?.groups ?? {};
    if (base64 === undefined) {
      this.#state = "literal";
      this.#copy(beginning);
    } else {
      this.#state = "extracted";
      this.#isInMarkdown = markdown !== undefined;
      if (markdown !== undefined) this.#copy(this.#utf8.encode(markdown));
      this.#decoder = new Base64Decoder(this.#open());
      for (const [index, piece] of base64.split("\\").entries()) {
        if (index > 0) this.#decoder.pushEscape(piece.charCodeAt(0));
        this.#decoder.push(this.#utf8.encode(index > 0 ? piece.slice(1) : piece));
      }
    }
    this.#clearUndecided();
  }

  #endExtracted(decoder: Base64Decoder<Result>): void {
    const token = `${this.#tokenPrefix}/${this.#results.size}`;
    this.#results.set(token, decoder.end());
    this.#decoder = undefined;
    this.#copy(this.#utf8.encode(token));
  }

  #endString(): void {
    if (this.#decoder !== undefined) this.#endExtracted(this.#decoder);
    this.#copy(this.#undecided.bytes());
    this.#copy(Uint8Array.of(QUOTE));
    this.#clearUndecided();
    this.#state = "outside";
  }

  #clearUndecided(): void {
    this.#undecided.clear();
    this.#undecidedLength = 0;
  }
}
