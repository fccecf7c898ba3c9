import { app } from "./app.ts";

export { IdempotencyKey } from "./generation/idempotency.ts";
export { Generation } from "./generation/object.ts";

export default { fetch: app.fetch } satisfies ExportedHandler<object>;
