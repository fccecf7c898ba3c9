import { secretOf } from "./dev-vars.ts";

/** Returns the values of TOKEN_SECRET from the environment or .dev.vars. The first one signs. */
export function tokenSecrets(): string[] {
  return (
    secretOf("TOKEN_SECRET")
      ?.split(",")
      .map((secret) => secret.trim()) ?? []
  );
}
