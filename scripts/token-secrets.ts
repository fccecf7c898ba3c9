import { secretOf } from "./dev-vars.ts";

/** The values of TOKEN_SECRET, from the environment or from .dev.vars; the first one signs. */
export function tokenSecrets(): string[] {
  return (
    secretOf("TOKEN_SECRET")
      ?.split(",")
      .map((secret) => secret.trim()) ?? []
  );
}
