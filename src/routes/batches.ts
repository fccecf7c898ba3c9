import type { Hono } from "hono";
import { limitRate } from "../access/rate-limit.ts";
import { requireWithinLimits } from "../access/token.ts";
import { BATCH_BODIES, located, parseBatch } from "../contract/batch.ts";
import { takeWebhookUrl } from "../contract/job.ts";
import { GatewayError } from "../errors.ts";
import { requestKey } from "../generation/key.ts";
import { jobsOf, submitOrder } from "../jobs/submit.ts";
import { parseCacheControl } from "../lib/cache-control.ts";
import { callerOf } from "../middleware/caller.ts";
import type { AppEnv } from "../middleware/context.ts";
import { idempotencyKeyOf } from "../middleware/idempotency-key.ts";
import { jsonBody } from "../middleware/json-body.ts";
import { POLL_SECONDS } from "./answer.ts";
import { checkedWebhookUrl } from "./jobs.ts";

const PATH = "/v1/images/batches";

/** `POST /v1/images/batches`, and a batch under it by its id. */
export function batchesRoutes(app: Hono<AppEnv>): void {
  app.post(PATH, async (c) => {
    const config = c.get("config");
    const json = await jsonBody(c, config.maxBodyBytes * BATCH_BODIES);
    const { body, webhookUrl } = takeWebhookUrl(json);
    const requests = parseBatch(body, config);
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
    const keys = await Promise.all(
      requests.map(({ request }) => requestKey(request, config.upstream.baseUrl)),
    );
    const id = await submitOrder(
      config,
      idempotencyKey === undefined ? undefined : `batch/${caller.principal}/${idempotencyKey}`,
      {
        isBatch: true,
        requests,
        requester: caller,
        directives: parseCacheControl(undefined),
        origin: new URL(c.req.url).origin,
        webhookUrl: checkedUrl,
        fingerprint: JSON.stringify([
          requests.map(({ customId }, index) => [customId, keys[index]]),
          checkedUrl,
        ]),
      },
    );
    const view = await jobsOf(config, "batch", id)?.batch(id);
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
    const view = await jobsOf(config, "batch", id)?.batch(id);
    if (view === undefined) throw new GatewayError({ code: "batch_not_found" });
    if (view.status === "in_progress") c.header("retry-after", String(POLL_SECONDS));
    return c.json(view, 200);
  });
}
