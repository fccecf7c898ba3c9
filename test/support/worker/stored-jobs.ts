import { parseImageRequest } from "../../../src/contract/request.ts";
import { toStoredRequest } from "../../../src/contract/stored-request.ts";
import type { JobBatch } from "../../../src/jobs/object.ts";
import { parseCacheControl } from "../../../src/lib/cache-control.ts";
import { newBody } from "../bodies.ts";
import { bindings, ORIGIN, testConfig } from "./harness.ts";

/** Jobs that are stored, but that no Workflow runs. */
export interface StoredJobs {
  object: DurableObjectStub<JobBatch>;
  /** The id of the batch, or of the only job. */
  id: string;
  /** The ids of its jobs, in order. */
  jobs: string[];
}

/**
 * Stores jobs without starting them.
 *
 * @param customIds of the jobs of a batch; absent for a single job
 */
export async function storeJobs({
  customIds,
  webhookUrl,
}: {
  customIds?: readonly string[];
  webhookUrl?: string;
} = {}): Promise<StoredJobs> {
  const objects = bindings().JOBS;
  const object = objects.get(objects.newUniqueId());
  const requests = (customIds ?? [undefined]).map((customId) => ({
    customId,
    request: toStoredRequest(parseImageRequest(newBody(), testConfig(), Date.now())),
  }));
  const accepted = await object.accept({
    isBatch: customIds !== undefined,
    requests,
    requester: {
      principal: "a",
      rateKey: "a",
      payer: { caller: "public", account: "network/local", token: undefined },
    },
    directives: parseCacheControl(undefined),
    origin: ORIGIN,
    webhookUrl,
    fingerprint: undefined,
  });
  if (accepted === undefined) throw new Error("the jobs were not stored");
  return { object, id: accepted.id, jobs: accepted.openJobs };
}
