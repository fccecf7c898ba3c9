import type { Context, Hono } from "hono";
import { requestInEvent, splitWebhookUrl } from "../contract/job.ts";
import { parseImageRequest } from "../contract/request.ts";
import { GatewayError } from "../errors/failure.ts";
import { admitImageRequest } from "../http/admit.ts";
import { webhookCallerOf, WEBHOOK_SENDER, type AuthenticatedCaller } from "../http/caller.ts";
import type { AppEnv } from "../http/context.ts";
import { idempotencyKeyOf, webhookIdOf } from "../http/idempotency-key.ts";
import {
  checkedWebhookUrl,
  submittedJobResponse,
  webhookJobResponse,
} from "../http/job-response.ts";
import { jsonBytes, parseJson } from "../http/json-body.ts";
import { verifyWebhook } from "../jobs/signature.ts";
import { parseCacheControl } from "../lib/cache-control.ts";

const PATH = "/v1/webhooks/images";

/** `POST /v1/webhooks/images`, signed, or with a token in the URL for senders that cannot sign. */
export function webhooksRoutes(app: Hono<AppEnv>): void {
  app.post(PATH, async (c) => {
    const { webhookSecrets } = c.get("config");
    if (webhookSecrets.length === 0) {
      throw new GatewayError({ code: "misconfigured", problems: ["WEBHOOK_SECRET is not set"] });
    }
    // The signature is over the bytes of the body, so they are read first.
    const bytes = await jsonBytes(c);
    const id = verifyWebhook((name) => c.req.header(name), AS_SENT.decode(bytes), webhookSecrets);
    return jobOfEvent({ caller: WEBHOOK_SENDER, read: () => bytes }, id, c);
  });

  app.post(`${PATH}/:token`, async (c) => {
    const caller = await webhookCallerOf(c.req.param("token"), c);
    return jobOfEvent({ caller, read: () => jsonBytes(c) }, webhookIdOf(c), c);
  });
}

/** Decodes without removing a byte order mark, because the signature covers it. */
const AS_SENT = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

interface ReceivedEvent {
  /** The authenticated sender. */
  caller: AuthenticatedCaller;
  /** Reads the body. */
  read: () => Promise<Uint8Array> | Uint8Array;
}

/** Submits the job of a received event. */
async function jobOfEvent(
  { caller, read }: ReceivedEvent,
  webhookId: string | undefined,
  c: Context<AppEnv>,
): Promise<Response> {
  const parse = async () => {
    const { body, webhookUrl } = splitWebhookUrl(requestInEvent(parseJson(await read())));
    return { request: parseImageRequest(body, c.get("config"), Date.now()), webhookUrl };
  };
  const admission = { authenticate: () => caller, parse };
  const { request, webhookUrl } = await admitImageRequest(admission, c);
  const directives = parseCacheControl(undefined);
  const job = { request, caller, directives, webhookUrl: checkedWebhookUrl(webhookUrl, c) };
  return webhookId === undefined
    ? submittedJobResponse(job, idempotencyKeyOf(c), c)
    : webhookJobResponse(job, webhookId, c);
}
