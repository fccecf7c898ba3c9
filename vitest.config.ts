import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

/** Two kinds of tests: in workerd, the runtime that is deployed to, and from outside over sockets. */
export default defineConfig({
  test: {
    reporters: ["default", "./test/closing-line.ts"],
    projects: [
      {
        plugins: [
          cloudflareTest(({ inject }) => ({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: {
                ADMIN_KEY: "admin-key",
                LOCAL_DEVELOPMENT: "true",
                UPSTREAM_API_KEY: "sk-test",
                UPSTREAM_BASE_URL: inject("upstreamUrl"),
              },
            },
          })),
        ],
        test: {
          name: "workerd",
          include: ["test/unit/**/*.test.ts", "test/worker/**/*.test.ts"],
          globalSetup: "test/worker/setup.ts",
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts", "test/faults/**/*.test.ts"],
          globalSetup: "test/e2e/setup.ts",
          testTimeout: 20_000,
        },
      },
    ],
  },
});
