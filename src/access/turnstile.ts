import { z } from "zod";
import type { TurnstileConfig } from "../config/environment.ts";
import { GatewayError } from "../errors/failure.ts";
import { readAll } from "../lib/streams.ts";

/** Cloudflare's own bound of a widget's token. */
const TURNSTILE_TOKEN_MAX_CHARS = 2048;

/** What a page sends to have a token made for a visitor. */
export const turnstileBody = z.strictObject({
  turnstile_token: z.string().min(1).max(TURNSTILE_TOKEN_MAX_CHARS),
});

/** The action that the widget of the page names, and that a token must carry. */
const TURNSTILE_ACTION = "token";

const VERIFY_WITHIN_MS = 10_000;
const ANSWER_MAX_BYTES = 64 * 1024;

const outcomeSchema = z.object({
  success: z.boolean(),
  hostname: z.string().optional(),
  action: z.string().optional(),
});

/**
 * Has Cloudflare verify a widget's token (Turnstile documentation, "Server-side validation"). What
 * cannot be verified is not believed.
 *
 * @param hostnames the hosts of the pages whose widget is meant
 * @param address of the client, where it is known
 * @throws {GatewayError} `turnstile_failed`
 */
export async function verifyTurnstile(
  token: string,
  { secret, verifyUrl }: TurnstileConfig,
  { hostnames, address }: { hostnames: readonly string[]; address: string | undefined },
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
        remoteip: address,
        idempotency_key: crypto.randomUUID(),
      }),
      signal: AbortSignal.timeout(VERIFY_WITHIN_MS),
    });
    if (!response.ok || response.body === null) throw new Error("no answer");
    const bytes = await readAll(response.body, ANSWER_MAX_BYTES);
    outcome = outcomeSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    throw failed("unreachable");
  }
  if (!outcome.success) throw failed("refused");
  if (outcome.hostname === undefined || !hostnames.includes(outcome.hostname)) {
    throw failed("hostname");
  }
  if (outcome.action !== TURNSTILE_ACTION) throw failed("action");
}

function failed(reason: "unreachable" | "refused" | "hostname" | "action"): GatewayError {
  return new GatewayError({ code: "turnstile_failed", reason });
}
