import { webhookSecret } from "./webhooks/secret.ts";

/** The vars and secrets of the Worker in unit tests and in workerd; the upstream's URL is extra. */
export const VARS = {
  ADMIN_KEY: "admin-key-2b8d4f6a1c3e",
  // Tests send more requests, and more at once, than the limits of a deployment allow.
  BUDGET_USD_PER_DAY: "100000",
  GENERATIONS_PER_MINUTE: "1000000",
  LOCAL_DEVELOPMENT: "true",
  MAX_BLOCKS_PER_CALLER_PER_DAY: "1000000",
  MAX_CONCURRENT_PER_CALLER: "1000000",
  MAX_OPEN_JOBS_PER_CALLER: "1000000",
  UPSTREAM_API_KEY: "sk-test",
  WEBHOOK_HOSTS: "127.0.0.1",
  WEBHOOK_SECRET: webhookSecret("in"),
  WEBHOOK_SIGNING_SECRET: webhookSecret("out"),
};

/** The secret that signs tokens and URLs, in tests that set one. */
export const TOKEN_SECRET = "token-secret-5c7e9a1b3d5f7092846a";
/** The previous value of TOKEN_SECRET, in tests that rotate it. */
export const OLD_TOKEN_SECRET = "previous-token-secret-f1e2d3c4b5a6978";

/** The model that writes an SVG in tests, with its price. */
export const SVG_MODELS = JSON.stringify({
  "gpt-5.6-terra": { text_in: 2, text_out: 12, max_tokens: 30_000 },
});
