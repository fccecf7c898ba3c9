import type { TestProject } from "vitest/node";
import { startSimulator } from "./upstream/simulator.ts";
import { startReceiver } from "./webhooks/receiver.ts";

declare module "vitest" {
  interface ProvidedContext {
    upstreamUrl: string;
    receiverUrl: string;
  }
}

/**
 * Starts one simulator and one webhook receiver for all tests in workerd. Each test recognizes its requests
 * to the simulator by their prompt.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const simulator = await startSimulator();
  project.provide("upstreamUrl", simulator.baseUrl);
  const receiver = await startReceiver();
  project.provide("receiverUrl", receiver.origin);
  return async () => {
    await simulator.close();
    await receiver.close();
  };
}
