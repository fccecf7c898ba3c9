import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { TestProject } from "vitest/node";
import { bundleWorker } from "./bundle.ts";

declare module "vitest" {
  interface ProvidedContext {
    bundle: string;
  }
}

/** Bundles the Worker once for all test files, and deletes the bundle after them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const bundle = await bundleWorker();
  project.provide("bundle", bundle);
  return () => rm(dirname(bundle), { recursive: true });
}
