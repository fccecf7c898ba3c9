import type { Hono } from "hono";
import { storedCaller } from "../access/caller.ts";
import { requireWithinLimits } from "../access/token.ts";
import { parseWebhookUrl } from "../access/webhook-url.ts";
import type { Config } from "../config/environment.ts";
import { BATCH_BODIES, located, parseBatch, type BatchRequest } from "../contract/batch.ts";
import { splitWebhookUrl } from "../contract/job.ts";
import { toStoredRequest } from "../contract/stored-request.ts";
import { GatewayError } from "../errors/failure.ts";
import { requestIdentity, requestKeys, type RequestIdentity } from "../generation/key.ts";
import { admit, admitLookup } from "../http/admit.ts";
import { cancellerOf } from "../http/canceller.ts";
import type { AppEnv } from "../http/context.ts";
import { setPollHeaders } from "../http/generation-response.ts";
import { idempotencyKeyOf } from "../http/idempotency-key.ts";
import { submissionName, submittedId } from "../http/job-response.ts";
import { jsonBody } from "../http/json-body.ts";
import type { JobSubmission } from "../jobs/submission.ts";
import { cancelJobs } from "../jobs/cancel.ts";
import { jobBatchOf } from "../jobs/client.ts";
import { parseCacheControl } from "../lib/cache-control.ts";

const PATH = "/v1/images/batches";

/** Registers `POST /v1/images/batches`, and the lookup and cancellation of a batch by id. */
export function batchesRoutes(app: Hono<AppEnv>): void {
  app.post(PATH, async (c) => {
    const config = c.get("config");
    const maxBytes = config.maxBodyBytes * BATCH_BODIES;
    const { caller, parsed } = await admit(
      {
        maxBytes,
        parse: async () => {
          const json = await jsonBody(c, maxBytes);
          const { body, webhookUrl } = splitWebhookUrl(json);
          const requests = parseBatch(body, config, Date.now());
          return {
            requests,
            webhookUrl: parseWebhookUrl(webhookUrl, config),
            idempotencyKey: idempotencyKeyOf(c),
          };
        },
        checkLimits: ({ requests }, limits) => {
          for (const [index, { request }] of requests.entries()) {
            located(`requests[${index}].body`, () => requireWithinLimits(request.spec, limits));
          }
        },
      },
      c,
    );
    const { requests, webhookUrl, idempotencyKey } = parsed;
    const isNamed = idempotencyKey !== undefined;
    const id = await submittedId(
      isNamed ? submissionName("batch", caller, idempotencyKey) : undefined,
      {
        isBatch: true,
        requests: requests.map(({ customId, request }) => ({
          customId,
          request: toStoredRequest(request),
        })),
        requester: storedCaller(caller),
        directives: parseCacheControl(undefined),
        origin: new URL(c.req.url).origin,
        webhookUrl,
        ...(isNamed
          ? await fingerprintsOf(requests, webhookUrl, config)
          : { fingerprint: undefined }),
      },
      c,
    );
    const view = await jobBatchOf(config, "batch", id)?.batch(id);
    if (view === undefined) throw new GatewayError({ code: "batch_not_found" });
    c.get("event").add({ batch: id, n: requests.length });
    c.header("location", `${PATH}/${id}`);
    setPollHeaders(c);
    return c.json(view, 202);
  });

  app.get(`${PATH}/:id`, async (c) => {
    const config = c.get("config");
    await admitLookup(() => undefined, c);
    const id = c.req.param("id");
    const view = await jobBatchOf(config, "batch", id)?.batch(id);
    if (view === undefined) throw new GatewayError({ code: "batch_not_found" });
    if (view.status === "in_progress") setPollHeaders(c);
    return c.json(view, 200);
  });

  app.delete(`${PATH}/:id`, async (c) => {
    const config = c.get("config");
    const by = await cancellerOf(c);
    const id = c.req.param("id");
    const jobBatch = jobBatchOf(config, "batch", id);
    const isKnown = jobBatch !== undefined && (await cancelJobs(jobBatch, id, by, config));
    const view = isKnown ? await jobBatch.batch(id) : undefined;
    if (view === undefined) throw new GatewayError({ code: "batch_not_found" });
    c.get("event").add({ batch: id });
    return c.json(view, 200);
  });
}

/** Returns the fingerprints of a batch: of its requests, their `custom_id`s and its webhook URL. */
async function fingerprintsOf(
  requests: readonly BatchRequest[],
  webhookUrl: string | undefined,
  { upstream }: Config,
): Promise<Pick<JobSubmission, "fingerprint" | "requestFingerprint">> {
  const named = await Promise.all(
    requests.map(async ({ customId, request: { spec } }) => ({
      customId,
      ...(await requestIdentity(spec, await requestKeys(spec, upstream.baseUrl))),
    })),
  );
  const joined = (by: keyof RequestIdentity) =>
    JSON.stringify([named.map((each) => [each.customId, each[by]]), webhookUrl]);
  return { fingerprint: joined("requestKey"), requestFingerprint: joined("fingerprint") };
}
