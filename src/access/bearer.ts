import { GatewayError, type Credential } from "../errors/failure.ts";

/**
 * Returns the credential in an Authorization header (RFC 6750, 2.1).
 *
 * @throws {GatewayError} `missing_token`; `invalid_token` if the header is not `Bearer <credential>`
 */
export function bearerOf(authorization: string | undefined, credential: Credential): string {
  if (authorization === undefined || authorization.trim() === "") {
    throw new GatewayError({ code: "missing_token", credential });
  }
  const token = /^Bearer +(\S+)$/i.exec(authorization.trim())?.[1];
  if (token === undefined) {
    throw new GatewayError({ code: "invalid_token", credential, problem: "scheme" });
  }
  return token;
}

/** Returns true if a credential has the form of a JWT: it has two dots (RFC 7515, 3.1). */
export function isJwt(credential: string): boolean {
  return credential.split(".").length === 3;
}
