/** Receives the bytes of one base64 string as they are decoded. */
export interface ByteWriter<Result> {
  /**
   * Receives the next bytes, which are not reused. Returns false if it needs no more of them: the rest of the
   * string is then neither decoded nor checked.
   */
  write(bytes: Uint8Array<ArrayBuffer>): boolean;
  /** Returns the result after the last bytes. */
  end(): Result;
  /** Discards the received bytes, because the string is invalid or incomplete. */
  abort(): void;
}

/** The number of characters that are decoded at a time; a multiple of four. */
const DECODE_CHARS = 64 * 1024;

const SLASH = 0x2f;
const LETTER_N = 0x6e;
const LETTER_R = 0x72;
const LETTER_U = 0x75;
/** The digits of a Unicode escape in JSON (RFC 8259, 7). */
const ESCAPE_DIGITS = 4;
/** The characters of base64 that encoders escape with `\u`. */
const ESCAPED = "+/=";

/** Decodes base64 that arrives in pieces of any length. */
export class Base64Decoder<Result> {
  readonly #ascii = new TextDecoder();
  readonly #writer: ByteWriter<Result>;
  #text = "";
  /** The digits of an escape such as `\u002B` that is not complete. */
  #digits: string | undefined;
  /** `full`: the writer needs no more bytes. */
  #state: "open" | "full" | "invalid" = "open";

  constructor(writer: ByteWriter<Result>) {
    this.#writer = writer;
  }

  push(piece: Uint8Array): void {
    if (this.#state !== "open") return;
    const text = this.#ascii.decode(piece);
    this.#text += this.#digits === undefined ? text : this.#afterEscape(this.#digits + text);
    if (this.#text.length < DECODE_CHARS) return;
    // The last group is decoded later, because only the last group of the text may be padded.
    const end = this.#text.length - 4 - (this.#text.length % 4);
    this.#decode(this.#text.slice(0, end), "strict");
    this.#text = this.#text.slice(end);
  }

  /**
   * Adds an escaped byte: a slash is part of the base64, a line break is skipped, and the digits of `\u` follow
   * in the next pieces.
   */
  pushEscape(byte: number | undefined): void {
    if (this.#digits !== undefined) this.#invalidate();
    else if (byte === SLASH) this.push(Uint8Array.of(byte));
    else if (byte === LETTER_U) this.#digits = "";
    else if (byte !== LETTER_N && byte !== LETTER_R) this.#invalidate();
  }

  /** Returns the base64 in a text that continues the digits of an escape. */
  #afterEscape(text: string): string {
    this.#digits = text.length < ESCAPE_DIGITS ? text : undefined;
    if (this.#digits !== undefined) return "";
    const character = String.fromCharCode(Number.parseInt(text.slice(0, ESCAPE_DIGITS), 16));
    if (!ESCAPED.includes(character)) this.#invalidate();
    return character + text.slice(ESCAPE_DIGITS);
  }

  /** Returns the result of the writer; `undefined` if the base64 is invalid. */
  end(): Result | undefined {
    if (this.#digits !== undefined) this.#invalidate();
    if (this.#state === "open") this.#decode(this.#text, "loose");
    return this.#state === "invalid" ? undefined : this.#writer.end();
  }

  /** Aborts the writer, unless it is aborted already. */
  abort(): void {
    if (this.#state !== "invalid") this.#writer.abort();
  }

  #decode(text: string, lastChunkHandling: "strict" | "loose"): void {
    const bytes = fromBase64(text, lastChunkHandling);
    // Padding before the end is invalid.
    if (bytes === undefined || (lastChunkHandling === "strict" && text.endsWith("="))) {
      this.#invalidate();
    } else if (!this.#writer.write(bytes)) {
      this.#state = "full";
    }
  }

  #invalidate(): void {
    if (this.#state !== "open") return;
    this.#state = "invalid";
    this.#writer.abort();
  }
}

/** The white space that `Uint8Array.fromBase64` skips. A chunk of characters with it would not be whole groups. */
const WHITE_SPACE = /[\t\n\f\r ]+/g;

/** Decodes a complete base64 text, chunk by chunk. Returns the result of the writer; `undefined` if it is invalid. */
export function writeBase64<Result>(text: string, writer: ByteWriter<Result>): Result | undefined {
  const decoder = new Base64Decoder(writer);
  const utf8 = new TextEncoder();
  for (let start = 0; start < text.length; start += DECODE_CHARS) {
    const piece = text.slice(start, start + DECODE_CHARS).replaceAll(WHITE_SPACE, "");
    decoder.push(utf8.encode(piece));
  }
  return decoder.end();
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
