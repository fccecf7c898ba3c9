import { app } from "./app.ts";

export { Budget } from "./access/budget.ts";
export { Revocations } from "./access/revocation.ts";
export { IdempotencyKey } from "./generation/idempotency.ts";
export { Generation } from "./generation/object.ts";
// wrangler.toml and its migrations know the class as `Jobs`.
export { JobBatch as Jobs } from "./jobs/object.ts";
export { ImageJob } from "./jobs/workflow.ts";

export default { fetch: app.fetch } satisfies ExportedHandler<object>;
