import type { Config } from "../config/environment.ts";
import { invalidType } from "../contract/issues.ts";
import { WEBHOOK_URL } from "../contract/request-body.ts";
import { GatewayError, secretNotSet } from "../errors/failure.ts";
import { isPublicUrl } from "../lib/public-url.ts";

const MAX_CHARS = 2048;

/**
 * Returns the URL for a webhook delivery: a public https URL whose host is in `WEBHOOK_HOSTS`. `undefined`
 * if the request has none.
 *
 * @param value value of the parameter, not trusted
 * @throws {GatewayError} `invalid_type`, `string_above_max_length`, `malformed_value`; `misconfigured`
 *   if there is no secret to sign deliveries with
 */
export function parseWebhookUrl(value: unknown, config: Config): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string") throw new GatewayError(invalidType(WEBHOOK_URL, "string", value));
  if (value.length > MAX_CHARS) {
    throw new GatewayError({
      code: "string_above_max_length",
      param: WEBHOOK_URL,
      maxChars: MAX_CHARS,
      chars: value.length,
    });
  }
  const problem = problemOf(value, config);
  if (problem !== undefined) {
    throw new GatewayError({ code: "malformed_value", param: WEBHOOK_URL, problem });
  }
  if (config.webhookSigningSecrets.length === 0) {
    throw secretNotSet("WEBHOOK_SIGNING_SECRET");
  }
  return value;
}

/** Returns true if an accepted URL is still allowed. The configuration may have changed since. */
export function mayDeliverTo(url: string, config: Config): boolean {
  return config.webhookSigningSecrets.length > 0 && problemOf(url, config) === undefined;
}

function problemOf(value: string, { webhookHosts, localDevelopment }: Config): string | undefined {
  const url = URL.parse(value);
  if (url === null || !isPublicUrl(url, localDevelopment)) {
    return "must be a public https URL with a host name, no port and no user name";
  }
  if (webhookHosts.includes("*") || webhookHosts.includes(url.hostname)) return undefined;
  return "must have a host that this gateway may deliver webhooks to";
}
