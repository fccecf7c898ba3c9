import { GatewayError } from "../errors/failure.ts";

/** The parameters of a signed URL that are not parameters of the request. */
const EXPIRY = "exp";
const SIGNATURE = "sig";

const HMAC = { name: "HMAC", hash: "SHA-256" };

/**
 * Signs the query of a URL whose image is generated on its first view.
 *
 * The signature is HMAC-SHA256 in hexadecimal. It covers the canonical query: all parameters except
 * `sig`, sorted by name, serialized by `URLSearchParams`.
 *
 * @param parameters parameters of the request: `prompt`, `size` …
 * @param expires Unix seconds
 * @returns the query without a question mark
 */
export async function signQuery(
  parameters: Record<string, string>,
  expires: number,
  secret: string,
): Promise<string> {
  const query = new URLSearchParams({ ...parameters, [EXPIRY]: String(expires) });
  const key = await importKey(secret, "sign");
  const signature = await crypto.subtle.sign(HMAC.name, key, canonicalQuery(query));
  query.set(SIGNATURE, hexadecimal(signature));
  return query.toString();
}

/**
 * Verifies a signed query. Returns the parameters of its request, and the time at which it expires in
 * Unix seconds.
 *
 * @param secrets the accepted secrets
 * @param nowSeconds Unix seconds
 * @throws {GatewayError} `invalid_signature`, `signature_expired`
 */
export async function verifyQuery(
  query: URLSearchParams,
  secrets: readonly string[],
  nowSeconds: number,
): Promise<{ parameters: Record<string, string>; expires: number }> {
  const names = [...query.keys()];
  const signature = /^[0-9a-f]{64}$/.exec(query.get(SIGNATURE) ?? "")?.[0];
  // A repeated parameter is ambiguous, so it is rejected.
  if (signature === undefined || new Set(names).size < names.length) throw invalidSignature();
  if (!(await isSigned(query, Uint8Array.fromHex(signature), secrets))) throw invalidSignature();

  const expires = Number(query.get(EXPIRY));
  if (!Number.isSafeInteger(expires)) throw invalidSignature();
  if (expires <= nowSeconds) throw new GatewayError({ code: "signature_expired" });
  const parameters = Object.fromEntries(
    [...query].filter(([name]) => name !== EXPIRY && name !== SIGNATURE),
  );
  return { parameters, expires };
}

async function isSigned(
  query: URLSearchParams,
  signature: Uint8Array,
  secrets: readonly string[],
): Promise<boolean> {
  const signed = canonicalQuery(query);
  for (const secret of secrets) {
    const key = await importKey(secret, "verify");
    if (await crypto.subtle.verify(HMAC.name, key, signature, signed)) return true;
  }
  return false;
}

function canonicalQuery(query: URLSearchParams): Uint8Array {
  const signed = new URLSearchParams([...query].filter(([name]) => name !== SIGNATURE));
  signed.sort();
  return new TextEncoder().encode(signed.toString());
}

function importKey(secret: string, usage: "sign" | "verify"): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", new TextEncoder().encode(secret), HMAC, false, [usage]);
}

/** Encodes bytes in hexadecimal. `scripts/sign-url.ts` runs on Node, which has no `toHex` yet. */
function hexadecimal(bytes: ArrayBuffer): string {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function invalidSignature(): GatewayError {
  return new GatewayError({ code: "invalid_signature" });
}
