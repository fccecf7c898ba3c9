import type { Budget, Generation, IdempotencyKey, Jobs, Revocations } from "./index.ts";

/* The bindings in wrangler.toml, as `wrangler types` declares them. */

declare global {
  namespace Cloudflare {
    interface Env {
      CACHE: KVNamespace;
      GENERATION: DurableObjectNamespace<Generation>;
      IDEMPOTENCY: DurableObjectNamespace<IdempotencyKey>;
      BUDGET: DurableObjectNamespace<Budget>;
      REVOCATIONS: DurableObjectNamespace<Revocations>;
      JOBS: DurableObjectNamespace<Jobs>;
      IMAGE_JOB: Workflow;
      RATE_LIMIT_REQUESTS: RateLimit;
      ASSETS?: Fetcher;
      ANALYTICS?: AnalyticsEngineDataset;
    }
  }
}
