import { defineConfig } from "vitest/config";
import projects from "../../vitest.config.ts";

/** The project whose tests open the fixtures: an object's id depends on the project's name. */
const worker = projects.test?.projects?.find(
  (project) => typeof project === "object" && "test" in project && project.test.name === "worker",
);

/** Takes the fixtures of this version: `npm run take-fixtures`. */
export default defineConfig({
  ...(typeof worker === "object" && "plugins" in worker ? { plugins: worker.plugins } : {}),
  test: {
    name: "worker",
    include: ["test/stored/take.ts"],
    globalSetup: "test/stored/setup.ts",
    testTimeout: 20_000,
  },
});
