import { GatewayError } from "../errors/failure.ts";
import { bearerOf } from "./bearer.ts";

/**
 * Lets the owner pass, and nobody else.
 *
 * @param authorization the request's header, `Bearer <admin key>`
 * @param adminKey the secret `ADMIN_KEY`
 * @throws {GatewayError} `missing_token`, `invalid_token`; `misconfigured` where there is no key
 */
export async function requireAdmin(
  authorization: string | undefined,
  adminKey: string | undefined,
): Promise<void> {
  if (adminKey === undefined) {
    throw new GatewayError({ code: "misconfigured", problems: ["ADMIN_KEY is not set"] });
  }
  const token = bearerOf(authorization, "admin key");
  // Hashed first, because only texts of one length can be compared in constant time.
  const [given, expected] = await Promise.all([sha256(token), sha256(adminKey)]);
  if (!crypto.subtle.timingSafeEqual(given, expected)) {
    throw new GatewayError({
      code: "invalid_token",
      credential: "admin key",
      problem: "mismatch",
    });
  }
}

function sha256(text: string): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}
