import { GatewayError, secretNotSet } from "../errors/failure.ts";
import { sha256 } from "../lib/sha256.ts";
import { bearerOf } from "./bearer.ts";

/**
 * Requires the operator's admin key.
 *
 * @param authorization value of the Authorization header, `Bearer <admin key>`
 * @param adminKey the secret `ADMIN_KEY`
 * @throws {GatewayError} `missing_token`, `invalid_token`; `misconfigured` if `ADMIN_KEY` is not set
 */
export async function requireAdmin(
  authorization: string | undefined,
  adminKey: string | undefined,
): Promise<void> {
  if (adminKey === undefined) {
    throw secretNotSet("ADMIN_KEY");
  }
  const token = bearerOf(authorization, "admin key");
  // A comparison in constant time requires values of equal length, so it compares digests.
  const [given, expected] = await Promise.all([sha256(token), sha256(adminKey)]);
  if (!crypto.subtle.timingSafeEqual(given, expected)) {
    throw new GatewayError({
      code: "invalid_token",
      credential: "admin key",
      problem: "mismatch",
    });
  }
}
