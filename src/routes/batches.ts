import type { Hono } from "hono";
import { limitRate } from "../access/rate-limit.ts";
import { requireWithinLimits } from "../access/token.ts";
import type { Config } from "../config/environment.ts";
import { BATCH_BODIES, located, parseBatch, type BatchRequest } from "../contract/batch.ts";
import { takeWebhookUrl } from "../contract/job.ts";
import { GatewayError } from "../errors/failure.ts";
import { requestIdentity, requestKeys, type RequestIdentity } from "../generation/key.ts";
import type { JobSubmission } from "../jobs/submission.ts";
import { jobBatchOf, submitJobs } from "../jobs/submit.ts";
import { parseCacheControl } from "../lib/cache-control.ts";
import { callerOf } from "../http/caller.ts";
import type { AppEnv } from "../http/context.ts";
import { idempotencyKeyOf } from "../http/idempotency-key.ts";
import { jsonBody } from "../http/json-body.ts";
import { POLL_SECONDS } from "../http/generation-response.ts";
import { checkedWebhookUrl } from "../http/job-response.ts";

const PATH = "/v1/images/batches";

/** `POST /v1/images/batches`, and a batch under it by its id. */
export function batchesRoutes(app: Hono<AppEnv>): void {
  app.post(PATH, async (c) => {
    const config = c.get("config");
    const json = await jsonBody(c, config.maxBodyBytes * BATCH_BODIES);
    const { body, webhookUrl } = takeWebhookUrl(json);
    const requests = parseBatch(body, config, Date.now());
    const checkedUrl = checkedWebhookUrl(webhookUrl, c);
    const caller = await callerOf(c);
    const { token } = caller;
    if (token !== undefined) {
      for (const [index, { request }] of requests.entries()) {
        located(`requests[${index}].body`, () => requireWithinLimits(request, token));
      }
    }
    // A batch may cost money as a request for a new picture may; its jobs are counted one by one.
    await limitRate(config, "generations", caller.rateKey);
    const idempotencyKey = idempotencyKeyOf(c);
    const isNamed = idempotencyKey !== undefined;
    const id = await submitJobs(
      config,
      isNamed ? `batch/${caller.principal}/${idempotencyKey}` : undefined,
      {
        isBatch: true,
        requests,
        requester: caller,
        directives: parseCacheControl(undefined),
        origin: new URL(c.req.url).origin,
        webhookUrl: checkedUrl,
        ...(isNamed
          ? await fingerprintsOf(requests, checkedUrl, config)
          : { fingerprint: undefined }),
      },
    );
    const view = await jobBatchOf(config, "batch", id)?.batch(id);
    if (view === undefined) throw new GatewayError({ code: "batch_not_found" });
    c.get("event").add({ batch: id, n: requests.length });
    c.header("location", `${PATH}/${id}`);
    c.header("retry-after", String(POLL_SECONDS));
    return c.json(view, 202);
  });

  app.get(`${PATH}/:id`, async (c) => {
    const config = c.get("config");
    const caller = await callerOf(c);
    await limitRate(config, "requests", caller.rateKey);
    const id = c.req.param("id");
    const view = await jobBatchOf(config, "batch", id)?.batch(id);
    if (view === undefined) throw new GatewayError({ code: "batch_not_found" });
    if (view.status === "in_progress") c.header("retry-after", String(POLL_SECONDS));
    return c.json(view, 200);
  });
}

/** What a batch asks for, and under which names: the same key with another of either is refused. */
async function fingerprintsOf(
  requests: readonly BatchRequest[],
  webhookUrl: string | undefined,
  { upstream }: Config,
): Promise<Pick<JobSubmission, "fingerprint" | "requestFingerprint">> {
  const named = await Promise.all(
    requests.map(async ({ customId, request }) => ({
      customId,
      ...(await requestIdentity(request, await requestKeys(request, upstream.baseUrl))),
    })),
  );
  const joined = (by: keyof RequestIdentity) =>
    JSON.stringify([named.map((each) => [each.customId, each[by]]), webhookUrl]);
  return { fingerprint: joined("requestKey"), requestFingerprint: joined("fingerprint") };
}
