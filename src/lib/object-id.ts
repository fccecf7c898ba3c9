/** An id consists of its Durable Object's id (32 bytes) and a random nonce (12 bytes). */
const OBJECT_ID_BYTES = 32;
const NONCE_BYTES = 12;

/** Returns the pattern of ids with this prefix. */
export function idPattern(prefix: string): RegExp {
  return new RegExp(`^${prefix}_[A-Za-z0-9_-]{59}$`);
}

/**
 * Returns a new id for an item in a Durable Object. The id contains the object's id, so that the
 * item can be looked up by its id alone. 96 of its bits are random, so that it cannot be guessed: an
 * image URL needs no other credential.
 *
 * @param objectId the Durable Object's id, 64 hexadecimal digits
 */
export function newIdInObject(prefix: string, objectId: string): string {
  const bytes = new Uint8Array(OBJECT_ID_BYTES + NONCE_BYTES);
  bytes.set(Uint8Array.fromHex(objectId));
  crypto.getRandomValues(bytes.subarray(OBJECT_ID_BYTES));
  return `${prefix}_${bytes.toBase64({ alphabet: "base64url", omitPadding: true })}`;
}

/** Returns the Durable Object's id in an id; `undefined` if the id is malformed or has another prefix. */
export function objectIdOf(prefix: string, id: string): string | undefined {
  if (!idPattern(prefix).test(id)) return undefined;
  const bytes = Uint8Array.fromBase64(id.slice(prefix.length + 1), { alphabet: "base64url" });
  return bytes.subarray(0, OBJECT_ID_BYTES).toHex();
}

/**
 * Returns the Durable Object's id in an id, for its namespace; `undefined` if the id is malformed, or belongs
 * to another namespace.
 */
export function durableIdOf(
  objects: Pick<DurableObjectNamespace, "idFromString">,
  prefix: string,
  id: string,
): DurableObjectId | undefined {
  const hex = objectIdOf(prefix, id);
  if (hex === undefined) return undefined;
  try {
    return objects.idFromString(hex);
  } catch {
    // Well formed, but of another namespace.
    return undefined;
  }
}
