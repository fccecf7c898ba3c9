import type { Context, Hono } from "hono";
import { limitRate } from "../access/rate-limit.ts";
import { parseWebhookUrl } from "../access/webhook-url.ts";
import { requestInEvent, splitWebhookUrl } from "../contract/job.ts";
import { secretNotSet } from "../errors/failure.ts";
import { admitImageRequest } from "../http/admit.ts";
import {
  networkOfClient,
  webhookCallerOf,
  WEBHOOK_SENDER,
  type AuthenticatedCaller,
} from "../http/caller.ts";
import type { AppEnv } from "../http/context.ts";
import { idempotencyKeyOf, webhookIdOf } from "../http/idempotency-key.ts";
import { imageRequest } from "../http/image-request.ts";
import { submittedJobResponse, webhookJobResponse } from "../http/job-response.ts";
import { jsonBytes, parseJson } from "../http/json-body.ts";
import { verifyWebhook } from "../jobs/signature.ts";
import { parseCacheControl } from "../lib/cache-control.ts";

const PATH = "/v1/webhooks/images";

/** Registers `POST /v1/webhooks/images`, signed, or with a token in the URL for senders that cannot sign. */
export function webhooksRoutes(app: Hono<AppEnv>): void {
  app.post(PATH, async (c) => {
    const config = c.get("config");
    const { webhookSecrets } = config;
    if (webhookSecrets.length === 0) {
      throw secretNotSet("WEBHOOK_SECRET");
    }
    // The signature is over the bytes of the body, so they are read before the sender is known.
    await limitRate(config, `webhook/${networkOfClient(c)}`);
    const bytes = await jsonBytes(c);
    const sent = AS_SENT.decode(bytes);
    const webhookId = verifyWebhook((name) => c.req.header(name), sent, webhookSecrets);
    const read = () => ({ bytes, webhookId });
    return jobOfEvent({ authenticate: () => WEBHOOK_SENDER, read }, c);
  });

  app.post(`${PATH}/:token`, (c) => {
    const authenticate = () => webhookCallerOf(c.req.param("token"), c);
    const read = async () => ({ bytes: await jsonBytes(c), webhookId: webhookIdOf(c) });
    return jobOfEvent({ authenticate, read }, c);
  });
}

/** Decodes without removing a byte order mark, because the signature covers it. */
const AS_SENT = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

interface ReceivedEvent {
  /** Authenticates the sender. */
  authenticate: () => Promise<AuthenticatedCaller> | AuthenticatedCaller;
  /** Reads the body and the id of the event. */
  read: () => Promise<EventContent> | EventContent;
}

interface EventContent {
  bytes: Uint8Array;
  /** `undefined` if the sender gives the event no id. */
  webhookId: string | undefined;
}

/** Submits the job of a received event. */
async function jobOfEvent(
  { authenticate, read }: ReceivedEvent,
  c: Context<AppEnv>,
): Promise<Response> {
  const config = c.get("config");
  const parse = async () => {
    const { bytes, webhookId } = await read();
    const { body, webhookUrl } = splitWebhookUrl(requestInEvent(parseJson(bytes)));
    return {
      request: imageRequest(body, Date.now(), c),
      webhookUrl: parseWebhookUrl(webhookUrl, config),
      // The id of the event identifies a repetition.
      idempotencyKey: webhookId === undefined ? idempotencyKeyOf(c) : undefined,
      webhookId,
    };
  };
  const admitted = await admitImageRequest(
    { authenticate, maxBytes: config.maxBodyBytes, parse },
    c,
  );
  const { request, caller, webhookUrl, idempotencyKey, webhookId } = admitted;
  const job = { request, caller, directives: parseCacheControl(undefined), webhookUrl };
  return webhookId === undefined
    ? submittedJobResponse(job, idempotencyKey, c)
    : webhookJobResponse(job, webhookId, c);
}
