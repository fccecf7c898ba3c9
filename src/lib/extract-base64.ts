import { concat } from "./streams.ts";

/** A JSON value whose long base64 strings were decoded, and handed on, while they were read. */
export interface ExtractedJson<Kept> {
  value: unknown;
  /**
   * What `keep` made of the bytes that a string of `value` stands for, whether it was lifted or is
   * short base64 (a `data:` URL's prefix is skipped); `undefined` when it is no base64.
   */
  find: (text: string) => Kept | undefined;
}

/** From this length on a string that looks like base64 is decoded instead of kept. */
const LIFT_CHARS = 1024;
/** How much text is gathered before it is decoded; a multiple of four. */
const DECODE_CHARS = 64 * 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

const DATA_URL_PREFIX = /^data:[\w.+-]+\/[\w.+-]+;base64,/;
/** Base64 as it stands in JSON: encoders that write for HTML escape the solidus. */
const BASE64_START = /^(?:data:[\w.+-]+\\?\/[\w.+-]+;base64,)?((?:[A-Za-z0-9+/=]|\\[/rn])+)$/;

/**
 * Parses JSON that carries pictures as base64 without ever holding the base64: a long string of it
 * is decoded chunk by chunk, and a short token stands in its place while the rest, a few hundred
 * bytes, goes through `JSON.parse`. Bytes that are whole go to `keep` at once, so that a body of ten
 * pictures costs the memory of one, and the collector never sees a string of megabytes.
 *
 * @param chunks the body; a chunk is not used after the next one is asked for
 * @param keep takes the bytes of one string, and gives what shall stand for them
 * @throws {SyntaxError} when it is no JSON
 */
export async function extractBase64<Kept>(
  chunks: AsyncIterable<Uint8Array>,
  keep: (bytes: Uint8Array<ArrayBuffer>) => Kept,
): Promise<ExtractedJson<Kept>> {
  const lifter = new Lifter(keep);
  for await (const chunk of chunks) lifter.push(chunk);
  return lifter.end();
}

/** Where the reader stands: between strings, in one that is kept, undecided, or decoded. */
type State = "outside" | "kept" | "undecided" | "lifted";

class Lifter<Kept> {
  readonly #keep: (bytes: Uint8Array<ArrayBuffer>) => Kept;
  readonly #lifted = new Map<string, Kept | undefined>();
  /** Unguessable, so that no upstream can write a token of its own. */
  readonly #token = crypto.randomUUID();
  readonly #utf8 = new TextEncoder();
  /** The JSON without what was lifted. */
  readonly #skeleton: Uint8Array[] = [];
  /** The undecided string so far, as it stands in the JSON. */
  #undecided: Uint8Array[] = [];
  #undecidedLength = 0;
  #decoder = new Base64Decoder();
  #state: State = "outside";
  /** The last byte was a backslash that escapes the next one. */
  #escaped = false;

  constructor(keep: (bytes: Uint8Array<ArrayBuffer>) => Kept) {
    this.#keep = keep;
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
        this.#take(chunk.subarray(position, position + 1), true);
        position += 1;
        continue;
      }
      const quote = chunk.indexOf(QUOTE, position);
      const end = quote === -1 ? chunk.length : quote;
      // Searched again only once it is passed: a megabyte without one is walked through once.
      if (backslash !== -1 && backslash < position) backslash = chunk.indexOf(BACKSLASH, position);
      if (backslash !== -1 && backslash < end) {
        this.#take(chunk.subarray(position, backslash), false);
        this.#escaped = true;
        position = backslash + 1;
        continue;
      }
      this.#take(chunk.subarray(position, end), false);
      if (quote !== -1) this.#endString();
      position = end + 1;
    }
  }

  end(): ExtractedJson<Kept> {
    const text = new TextDecoder().decode(concat(this.#skeleton));
    return {
      value: JSON.parse(text),
      find: (string) =>
        this.#lifted.has(string)
          ? this.#lifted.get(string)
          : this.#kept(decodeBase64(string.replace(DATA_URL_PREFIX, ""))),
    };
  }

  #kept(bytes: Uint8Array<ArrayBuffer> | undefined): Kept | undefined {
    return bytes === undefined ? undefined : this.#keep(bytes);
  }

  /** A piece of the current string; `escaped` when a backslash went before its one byte. */
  #take(piece: Uint8Array, escaped: boolean): void {
    if (this.#state === "lifted") {
      if (escaped) this.#decoder.pushEscape(piece[0]);
      else this.#decoder.push(piece);
      return;
    }
    if (this.#state === "kept") {
      if (escaped) this.#skeleton.push(Uint8Array.of(BACKSLASH));
      this.#skeleton.push(piece.slice());
      return;
    }
    if (escaped) this.#undecided.push(Uint8Array.of(BACKSLASH));
    // Looked at no further than it takes to decide: a chunk may hold a good part of a picture.
    const beginning = piece.slice(0, LIFT_CHARS - this.#undecidedLength);
    this.#undecided.push(beginning);
    this.#undecidedLength += beginning.length;
    if (this.#undecidedLength < LIFT_CHARS) return;
    this.#decide();
    if (beginning.length < piece.length) this.#take(piece.subarray(beginning.length), false);
  }

  #decide(): void {
    const begun = concat(this.#undecided);
    const base64 = BASE64_START.exec(new TextDecoder().decode(begun))?.[1];
    this.#undecided = [];
    this.#undecidedLength = 0;
    if (base64 === undefined) {
      this.#state = "kept";
      this.#skeleton.push(begun);
      return;
    }
    this.#state = "lifted";
    this.#decoder = new Base64Decoder();
    this.#decoder.push(this.#utf8.encode(base64.replaceAll(/\\[rn]/g, "").replaceAll("\\/", "/")));
  }

  #endString(): void {
    if (this.#state === "lifted") {
      const token = `${this.#token}/${this.#lifted.size}`;
      this.#lifted.set(token, this.#kept(this.#decoder.end()));
      this.#skeleton.push(this.#utf8.encode(token));
    }
    this.#skeleton.push(...this.#undecided, Uint8Array.of(QUOTE));
    this.#undecided = [];
    this.#undecidedLength = 0;
    this.#state = "outside";
  }
}

/** Base64 in pieces of any length, decoded as it comes. */
class Base64Decoder {
  readonly #ascii = new TextDecoder();
  readonly #parts: Uint8Array[] = [];
  #text = "";
  #valid = true;

  push(piece: Uint8Array): void {
    if (!this.#valid) return;
    this.#text += this.#ascii.decode(piece);
    if (this.#text.length < DECODE_CHARS) return;
    // The last group stays behind: whether it may be padded shows only at the end.
    const whole = this.#text.length - 4 - (this.#text.length % 4);
    this.#decode(this.#text.slice(0, whole), "strict");
    this.#text = this.#text.slice(whole);
  }

  /** The byte that followed a backslash: a solidus counts, a line break does not. */
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
    // Padding with more behind it would be two texts, not one.
    if (bytes === undefined || (lastChunkHandling === "strict" && text.endsWith("="))) {
      this.#valid = false;
    } else {
      this.#parts.push(bytes);
    }
  }
}

/** The bytes of a whole text of base64; `undefined` when it is none. */
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
