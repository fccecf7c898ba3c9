import * as z from "zod";
import type { TurnstileConfig } from "../config/environment.ts";
import { GatewayError, type TurnstileProblem } from "../errors/failure.ts";
import { readAll } from "../lib/streams.ts";

/** Cloudflare's limit for the length of a Turnstile token. */
const TURNSTILE_TOKEN_MAX_CHARS = 2048;

/** The body of a page's request for a visitor's token. */
export const turnstileBody = z.strictObject({
  turnstile_token: z.string().min(1).max(TURNSTILE_TOKEN_MAX_CHARS),
});

/** The action of the page's widget. A Turnstile token must have it. */
const TURNSTILE_ACTION = "token";

const TIMEOUT_MS = 10_000;
const RESPONSE_MAX_BYTES = 64 * 1024;

const outcomeSchema = z.object({
  success: z.boolean(),
  hostname: z.string().optional(),
  action: z.string().optional(),
});

/**
 * Verifies a Turnstile token with Cloudflare (Turnstile documentation, "Server-side validation"). If
 * Cloudflare is unreachable, the token is rejected.
 *
 * @param client.hostnames the hosts of the pages that may use the widget
 * @param client.ip the client's IP address, if known
 * @throws {GatewayError} `turnstile_failed`
 */
export async function verifyTurnstile(
  token: string,
  { secret, verifyUrl }: TurnstileConfig,
  { hostnames, ip }: { hostnames: readonly string[]; ip: string | undefined },
): Promise<void> {
  let outcome: z.infer<typeof outcomeSchema>;
  try {
    const response = await fetch(verifyUrl, {
      method: "POST",
      redirect: "manual",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        secret,
        response: token,
        remoteip: ip,
        idempotency_key: crypto.randomUUID(),
      }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (!response.ok || response.body === null) throw new Error("no response");
    const bytes = await readAll(response.body, RESPONSE_MAX_BYTES);
    outcome = outcomeSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    throw failed("unreachable");
  }
  if (!outcome.success) throw failed("rejected");
  if (outcome.hostname === undefined || !hostnames.includes(outcome.hostname)) {
    throw failed("hostname");
  }
  if (outcome.action !== TURNSTILE_ACTION) throw failed("action");
}

function failed(reason: TurnstileProblem): GatewayError {
  return new GatewayError({ code: "turnstile_failed", reason });
}
