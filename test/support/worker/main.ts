import * as worker from "../../../src/index.ts";
import { failingOnDemand } from "./failing-accounts.ts";
import { withHeldAlarms } from "./held-alarms.ts";
import { kvAt, OBJECTS } from "./edge-kv.ts";

/*
 * The Worker of tests in workerd. Its objects and Workflows see KV as one location of the platform does. The
 * environment of requests is `environment()` in harness.ts.
 */

export { Budget, IdempotencyKey, Jobs, Revocations } from "../../../src/index.ts";
export default worker.default;

export class Generation extends worker.Generation {
  constructor(state: DurableObjectState, env: { BUDGET: DurableObjectNamespace }) {
    const BUDGET = failingOnDemand(env.BUDGET);
    super(withHeldAlarms(state), { ...env, BUDGET, CACHE: kvAt(OBJECTS) });
  }
}

/** The environment of all Workflows: as on the platform, an isolate has one. */
let jobEnvironment: object | undefined;

export class ImageJob extends worker.ImageJob {
  constructor(context: ExecutionContext, env: object) {
    jobEnvironment ??= { ...env, CACHE: kvAt(OBJECTS) };
    super(context, jobEnvironment);
  }
}
