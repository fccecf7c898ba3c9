import type { Config } from "../config/environment.ts";
import { isGptImage } from "../contract/models.ts";
import type { ImageRequest } from "../contract/request.ts";

const encoder = new TextEncoder();

/** Separates this use of a secret from every other one (RFC 5869, 3.2). */
const PURPOSE = encoder.encode("darkroom safety identifier");

/** Returns the secret from which identifiers are derived; `undefined` if the gateway adds none. */
function identifierSecret(
  { spec, upstream }: ImageRequest,
  { tokenSecrets, adminKey, upstream: { apiKey, identifiesCallers } }: Config,
): string | undefined {
  const isIdentified = upstream.user !== undefined || upstream.safetyIdentifier !== undefined;
  if (!identifiesCallers || isIdentified || !isGptImage(spec)) return undefined;
  return tokenSecrets[0] ?? adminKey ?? apiKey;
}

/** Returns true if the gateway adds an identifier to a request. */
export function addsSafetyIdentifier(request: ImageRequest, config: Config): boolean {
  return identifierSecret(request, config) !== undefined;
}

/**
 * Returns a request with an identifier of its caller, so that the upstream can block one abuser instead of
 * the operator's whole account. A request that has an identifier of its own stays unchanged, and so does one
 * for a model that is no GPT image model.
 *
 * The identifier is HMAC-SHA-256 of the caller's account, in hexadecimal. Its key is derived from a secret of
 * the gateway, so the upstream cannot guess the account.
 *
 * @param account the name of the caller's account
 */
export async function withSafetyIdentifier(
  request: ImageRequest,
  account: string,
  config: Config,
): Promise<ImageRequest> {
  const secret = identifierSecret(request, config);
  if (secret === undefined) return request;
  const key = await derivedKey(secret);
  const digest = await crypto.subtle.sign("HMAC", key, encoder.encode(account));
  return {
    ...request,
    upstream: { ...request.upstream, safetyIdentifier: new Uint8Array(digest).toHex() },
  };
}

/** Derives the key with HKDF (RFC 5869). */
async function derivedKey(secret: string): Promise<CryptoKey> {
  const material = await crypto.subtle.importKey("raw", encoder.encode(secret), "HKDF", false, [
    "deriveKey",
  ]);
  return crypto.subtle.deriveKey(
    { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: PURPOSE },
    material,
    { name: "HMAC", hash: "SHA-256", length: 256 },
    false,
    ["sign"],
  );
}
