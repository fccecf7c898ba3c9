/** Returns the SHA-256 digest of a text in UTF-8. */
export function sha256(text: string): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}

/** Returns the SHA-256 digest of a list in JSON, in hexadecimal. */
export async function hexDigest(list: readonly unknown[]): Promise<string> {
  return new Uint8Array(await sha256(JSON.stringify(list))).toHex();
}
