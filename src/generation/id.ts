/** A Durable Object's id has 32 bytes; 12 random ones more make a generation's id its own. */
const OBJECT_ID_BYTES = 32;
const NONCE_BYTES = 12;

/** What a generation's id looks like. */
export const GENERATION_ID = /^gen_[A-Za-z0-9_-]{59}$/;

/**
 * A new generation's id. It leads back to the object that makes it, so that it can be asked for
 * before KV has it; 96 of its bits are random, so that it cannot be guessed.
 *
 * @param objectId of the Durable Object, 64 hexadecimal digits
 */
export function newGenerationId(objectId: string): string {
  const bytes = new Uint8Array(OBJECT_ID_BYTES + NONCE_BYTES);
  bytes.set(Uint8Array.fromHex(objectId));
  crypto.getRandomValues(bytes.subarray(OBJECT_ID_BYTES));
  return `gen_${bytes.toBase64({ alphabet: "base64url", omitPadding: true })}`;
}

/** The id of the object behind a generation; `undefined` when it is no generation's id. */
export function objectIdOf(id: string): string | undefined {
  if (!GENERATION_ID.test(id)) return undefined;
  const bytes = Uint8Array.fromBase64(id.slice("gen_".length), { alphabet: "base64url" });
  return bytes.subarray(0, OBJECT_ID_BYTES).toHex();
}
