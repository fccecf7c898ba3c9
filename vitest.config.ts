import { availableParallelism } from "node:os";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { VARS } from "./test/support/vars.ts";

const NO_LIMIT = { limit: 1_000_000, period: 60 } as const;

const workerd = cloudflareTest(({ inject }) => ({
  main: "./test/support/worker/main.ts",
  wrangler: { configPath: "./wrangler.toml" },
  miniflare: {
    // Tests send more requests than the limits of a deployment allow.
    ratelimits: { RATE_LIMIT_REQUESTS: { namespace_id: "1001", simple: NO_LIMIT } },
    bindings: {
      ...VARS,
      // How many schedules the model-based test runs.
      LIFECYCLE_RUNS: process.env["LIFECYCLE_RUNS"] ?? "25",
      UPSTREAM_BASE_URL: inject("upstreamUrl"),
    },
  },
}));

/**
 * Runs the tests of pure code on Node, those of code that needs the platform in workerd, and those of the
 * bundled Worker over sockets. A test of one module that needs a binding or a socket is in test/worker.
 */
export default defineConfig({
  test: {
    // Tests wait more than they compute.
    maxWorkers: availableParallelism() + 1,
    // Prints the log of a failed test only.
    silent: "passed-only",
    reporters: ["default", "./test/support/closing-line.ts"],
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          // Property tests compute for seconds on a busy machine.
          testTimeout: 20_000,
          // In Node 24, V8 has Uint8Array.fromBase64 and its relatives only behind this flag.
          execArgv: ["--js-base-64"],
          // Pure code leaves no state behind for the next file.
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
          testTimeout: 60_000,
          // After a test, a hook waits for its jobs.
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts", "test/faults/**/*.test.ts"],
          globalSetup: "test/support/setup-e2e.ts",
          testTimeout: 60_000,
        },
      },
    ],
  },
});
