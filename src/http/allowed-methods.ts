import type { Context } from "hono";
import type { AppEnv } from "./context.ts";

/** The path of generations and of signed image URLs. */
export const GENERATIONS_PATH = "/v1/images/generations";

/** The methods of that path if the gateway has no secret to verify signed URLs with. */
export const WITHOUT_SIGNED_URLS = ["POST"];

/**
 * Returns the methods that the URL of a request accepts.
 *
 * @param registered the methods that its path is registered with
 */
export function allowedMethods(
  registered: readonly string[],
  c: Context<AppEnv>,
): readonly string[] {
  const hasSignedUrls = c.get("config").tokenSecrets.length > 0;
  return c.req.path === GENERATIONS_PATH && !hasSignedUrls ? WITHOUT_SIGNED_URLS : registered;
}
