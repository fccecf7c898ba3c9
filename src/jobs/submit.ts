import type { Config } from "../config/environment.ts";
import { GatewayError } from "../errors/failure.ts";
import { objectIdOf } from "../lib/object-id.ts";
import { rpcClient, type RpcClient } from "../lib/rpc-client.ts";
import type { Jobs } from "./object.ts";
import type { Order } from "./order.ts";

/** The RPC methods of the Durable Object of a job or batch. */
export type JobsStub = RpcClient<Jobs>;

/**
 * Takes an order and has its jobs begin. An order under a name that was used before is the one that it
 * was then.
 *
 * @param name of the order; one that nobody else has where absent
 * @returns the id of the batch, or of the one job
 * @throws {GatewayError} `idempotency_key_reused` where the name stands for something else
 */
export async function submitOrder(
  config: Config,
  name: string | undefined,
  order: Order,
): Promise<string> {
  const objects = config.jobs;
  const objectId = name === undefined ? objects.newUniqueId() : objects.idFromName(name);
  const accepted = await rpcClient(objects.get(objectId)).accept(order);
  if (accepted === undefined) throw new GatewayError({ code: "idempotency_key_reused" });
  if (accepted.openJobs.length > 0) await begin(config, accepted.openJobs);
  return accepted.id;
}

/**
 * Has the Workflows begin that do not run yet. Whoever orders again while the first one is on its way
 * begins the same ones, and an id is begun once.
 */
async function begin({ imageJobs }: Config, jobs: readonly string[]): Promise<void> {
  const { errors } = await imageJobs.createBatch({ instances: jobs.map((id) => ({ id })) });
  // Why one was not begun is told in words and numbers that are not documented; that it runs is what counts.
  await Promise.all(errors.map(({ id = "" }) => beginAgain(imageJobs, id)));
}

/** One that is there already runs, or has run; one that the platform has given up is begun again. */
async function beginAgain(imageJobs: Workflow, id: string): Promise<void> {
  const instance = await imageJobs.get(id);
  const { status } = await instance.status();
  if (status === "errored" || status === "terminated") await instance.restart();
}

/** The object of an order, and how to ask it. */
export function jobsOf(config: Config, prefix: "job" | "batch", id: string): JobsStub | undefined {
  const hex = objectIdOf(prefix, id);
  if (hex === undefined) return undefined;
  const objects = config.jobs;
  try {
    return rpcClient(objects.get(objects.idFromString(hex)));
  } catch {
    // Well formed, and no id that this namespace has given out.
    return undefined;
  }
}
