import { Webhook } from "standardwebhooks";
import { KEY_MAX_CHARS } from "../contract/job.ts";
import { GatewayError, type WebhookProblem } from "../errors/failure.ts";

/** The headers that identify and authenticate a webhook (Standard Webhooks, "Headers"). */
export interface WebhookHeaders {
  "webhook-id": string;
  "webhook-timestamp": string;
  "webhook-signature": string;
}

/**
 * Returns the headers of an outgoing webhook. It is signed with every secret, so that a receiver can
 * verify it with any of them.
 *
 * @param nowMs milliseconds since the epoch
 * @param secrets the values of `WEBHOOK_SIGNING_SECRET`
 */
export function signWebhook(
  id: string,
  body: string,
  nowMs: number,
  secrets: readonly string[],
): WebhookHeaders {
  const timestamp = new Date(nowMs);
  const signatures = secrets.map((secret) => new Webhook(secret).sign(id, timestamp, body));
  return {
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(nowMs / 1000)),
    "webhook-signature": signatures.join(" "),
  };
}

/** Longer than any legitimate header, and short enough to bound the cost of verification. */
const SIGNATURE_MAX_CHARS = 2048;

/**
 * Verifies a received webhook. One of the secrets must have signed its id, timestamp and body, and
 * its timestamp must be within five minutes of now.
 *
 * @param header returns the value of a header
 * @param body the raw request body
 * @param secrets the values of `WEBHOOK_SECRET`
 * @returns the webhook's id, which is the same on every delivery attempt
 * @throws {GatewayError} `invalid_signature` (401)
 */
export function verifyWebhook(
  header: (name: keyof WebhookHeaders) => string | undefined,
  body: string,
  secrets: readonly string[],
): string {
  const id = header("webhook-id");
  const timestamp = header("webhook-timestamp");
  const signature = header("webhook-signature");
  if (id === undefined || timestamp === undefined || signature === undefined) {
    throw invalid("missing");
  }
  // The library parses "12 monkeys" as 12.
  if (!/^\d{1,12}$/.test(timestamp)) throw invalid("timestamp");
  if (id.length > KEY_MAX_CHARS || signature.length > SIGNATURE_MAX_CHARS) {
    throw invalid("mismatch");
  }
  const headers: WebhookHeaders = {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": signature,
  };
  const problems = secrets.map((secret) => problemOf(new Webhook(secret), body, headers));
  if (problems.includes(undefined)) return id;
  throw invalid(problems.includes("timestamp") ? "timestamp" : "mismatch");
}

function problemOf(
  webhook: Webhook,
  body: string,
  headers: WebhookHeaders,
): WebhookProblem | undefined {
  try {
    webhook.verify(body, { ...headers }, { jsonParse: false });
    return undefined;
  } catch (error) {
    // The library distinguishes its reasons by the message only.
    const isTime = error instanceof Error && error.message.startsWith("Message timestamp");
    return isTime ? "timestamp" : "mismatch";
  }
}

function invalid(problem: WebhookProblem): GatewayError {
  return new GatewayError({ code: "invalid_webhook_signature", problem });
}
