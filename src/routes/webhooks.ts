import type { Context, Hono } from "hono";
import { limitRate } from "../access/rate-limit.ts";
import { requireWithinLimits } from "../access/token.ts";
import { requestInEvent, takeWebhookUrl } from "../contract/job.ts";
import { parseImageRequest } from "../contract/request.ts";
import { GatewayError } from "../errors/failure.ts";
import { verifyWebhook } from "../jobs/signature.ts";
import { parseCacheControl } from "../lib/cache-control.ts";
import { webhookCallerOf, WEBHOOK_SENDER, type Caller } from "../http/caller.ts";
import type { AppEnv } from "../http/context.ts";
import { idempotencyKeyOf, webhookIdOf } from "../http/idempotency-key.ts";
import { jsonBytes, parseJson } from "../http/json-body.ts";
import { checkedWebhookUrl, orderedJob, webhookJob } from "../http/job-response.ts";

const PATH = "/v1/webhooks/images";

/** `POST /v1/webhooks/images`, signed, and with a token in the address for senders that cannot sign. */
export function webhooksRoutes(app: Hono<AppEnv>): void {
  app.post(PATH, async (c) => {
    const { webhookSecrets } = c.get("config");
    if (webhookSecrets.length === 0) {
      throw new GatewayError({ code: "misconfigured", problems: ["WEBHOOK_SECRET is not set"] });
    }
    // A signature is of bytes.
    const bytes = await jsonBytes(c);
    const text = AS_SENT.decode(bytes);
    const id = verifyWebhook((name) => c.req.header(name), text, webhookSecrets);
    return taken(bytes, WEBHOOK_SENDER, id, c);
  });

  app.post(`${PATH}/:token`, async (c) => {
    const caller = await webhookCallerOf(c.req.param("token"), c);
    const bytes = await jsonBytes(c);
    return taken(bytes, caller, webhookIdOf(c), c);
  });
}

/** Keeps a byte order mark: it was signed too. */
const AS_SENT = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

async function taken(
  bytes: Uint8Array,
  caller: Caller,
  webhookId: string | undefined,
  c: Context<AppEnv>,
): Promise<Response> {
  const config = c.get("config");
  const event = c.get("event");
  const taken = takeWebhookUrl(requestInEvent(parseJson(bytes)));
  const request = parseImageRequest(taken.body, config, Date.now());
  const { model, size, quality, n } = request;
  event.add({ model, size, quality, n });
  event.account = caller.payer.account;
  if (caller.token !== undefined) requireWithinLimits(request, caller.token);
  await limitRate(config, "requests", caller.rateKey);
  const directives = parseCacheControl(undefined);
  const webhookUrl = checkedWebhookUrl(taken.webhookUrl, c);
  const order = { request, requester: caller, directives, webhookUrl };
  return webhookId === undefined
    ? orderedJob(order, idempotencyKeyOf(c), c)
    : webhookJob(order, webhookId, c);
}
