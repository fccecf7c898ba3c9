/** The size of the first buffer. Most texts are shorter. */
const FIRST_BYTES = 4 * 1024;

/** Bytes that arrive in pieces, in one buffer that doubles. Many small pieces need no more than one large one. */
export class GrowingBytes {
  readonly #maxBytes: number;
  #buffer = new ArrayBuffer(0);
  #length = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Copies bytes to the end. Returns false, without copying them, if they exceed the limit. */
  append(bytes: Uint8Array): boolean {
    const length = this.#length + bytes.byteLength;
    if (length > this.#maxBytes) return false;
    if (length > this.#buffer.byteLength) {
      const doubled = Math.max(FIRST_BYTES, 2 * this.#buffer.byteLength, length);
      this.#buffer = this.#buffer.transfer(Math.min(doubled, this.#maxBytes));
    }
    new Uint8Array(this.#buffer).set(bytes, this.#length);
    this.#length = length;
    return true;
  }

  /** Returns the bytes. They are valid until the next change. */
  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#buffer, 0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }
}
