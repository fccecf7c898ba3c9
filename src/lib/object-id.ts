/** A Durable Object's id has 32 bytes; 12 random ones more make an id in it its own. */
const OBJECT_ID_BYTES = 32;
const NONCE_BYTES = 12;

/** What an id with this prefix looks like. */
export function idPattern(prefix: string): RegExp {
  return new RegExp(`^${prefix}_[A-Za-z0-9_-]{59}$`);
}

/**
 * A new id of something that a Durable Object owns. It leads back to the object, so that it can be
 * asked for wherever it is known; 96 of its bits are random, so that it cannot be guessed.
 *
 * @param objectId of the Durable Object, 64 hexadecimal digits
 */
export function newIdInObject(prefix: string, objectId: string): string {
  const bytes = new Uint8Array(OBJECT_ID_BYTES + NONCE_BYTES);
  bytes.set(Uint8Array.fromHex(objectId));
  crypto.getRandomValues(bytes.subarray(OBJECT_ID_BYTES));
  return `${prefix}_${bytes.toBase64({ alphabet: "base64url", omitPadding: true })}`;
}

/** The id of the object that an id leads back to; `undefined` when it is none with this prefix. */
export function objectIdOf(prefix: string, id: string): string | undefined {
  if (!idPattern(prefix).test(id)) return undefined;
  const bytes = Uint8Array.fromBase64(id.slice(prefix.length + 1), { alphabet: "base64url" });
  return bytes.subarray(0, OBJECT_ID_BYTES).toHex();
}
