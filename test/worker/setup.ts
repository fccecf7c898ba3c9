import type { TestProject } from "vitest/node";
import { startSimulator } from "../upstream/simulator.ts";

declare module "vitest" {
  interface ProvidedContext {
    upstreamUrl: string;
  }
}

/** One simulated upstream for all tests in workerd; they tell their requests apart by the prompt. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const simulator = await startSimulator();
  project.provide("upstreamUrl", simulator.baseUrl);
  return () => simulator.close();
}
