import { availableParallelism } from "node:os";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { webhookSecret } from "./test/support/webhooks/secret.ts";

const NO_LIMIT = { limit: 1_000_000, period: 60 } as const;

const workerd = cloudflareTest(({ inject }) => ({
  main: "./test/support/worker/main.ts",
  wrangler: { configPath: "./wrangler.toml" },
  miniflare: {
    // Tests ask more, and more at once, than anybody may.
    ratelimits: {
      RATE_LIMIT_REQUESTS: { namespace_id: "1001", simple: NO_LIMIT },
      RATE_LIMIT_GENERATIONS: { namespace_id: "1002", simple: NO_LIMIT },
    },
    bindings: {
      ADMIN_KEY: "admin-key",
      BUDGET_USD_PER_DAY: "100000",
      // Of the model-based test: how many schedules it tries.
      LIFECYCLE_RUNS: process.env["LIFECYCLE_RUNS"] ?? "25",
      LOCAL_DEVELOPMENT: "true",
      MAX_CONCURRENT_PER_CALLER: "1000000",
      UPSTREAM_API_KEY: "sk-test",
      UPSTREAM_BASE_URL: inject("upstreamUrl"),
      WEBHOOK_HOSTS: "127.0.0.1",
      WEBHOOK_SECRET: webhookSecret("in"),
      WEBHOOK_SIGNING_SECRET: webhookSecret("out"),
    },
  },
}));

/** In workerd, the runtime that is deployed to, parts and whole; and from outside over sockets. */
export default defineConfig({
  test: {
    // Tests wait more than they compute.
    maxWorkers: availableParallelism() + 1,
    reporters: ["default", "./test/support/closing-line.ts"],
    projects: [
      {
        plugins: [workerd],
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          globalSetup: "test/support/setup-worker.ts",
          // What is pure leaves nothing behind for the next file.
          isolate: false,
        },
      },
      {
        plugins: [workerd],
        test: {
          name: "worker",
          include: ["test/worker/**/*.test.ts"],
          globalSetup: "test/support/setup-worker.ts",
          setupFiles: "test/support/worker/reset-kv.ts",
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts", "test/faults/**/*.test.ts"],
          globalSetup: "test/support/setup-e2e.ts",
          testTimeout: 20_000,
        },
      },
    ],
  },
});
