import { MISSING_KEY } from "../src/config/environment.ts";
import { startSimulator } from "../test/support/upstream/simulator.ts";
import { FIRST_PORT, freePort, startDev } from "./dev.ts";
import { devVars } from "./dev-vars.ts";
import { fail, splitOptions } from "./options.ts";

/** About the latency of a fast model, so that the page shows its progress. */
const SIMULATED_SECONDS = 2;

/** Separate storage, so that simulated generations touch neither the real budget nor the real cache. */
const STORAGE = "--persist-to";
const SIMULATED_STORAGE = ".wrangler/simulated";

/** The flags of this script. All others are flags of `wrangler dev`. */
const OPTIONS = {
  /** The first port to try. */
  port: { type: "string" },
  /** Uses the simulator even if .dev.vars has a key. */
  simulated: { type: "boolean" },
} as const;

const { own, others: wranglerFlags } = splitOptions(OPTIONS);
const isSimulated = own.simulated === true;
const firstPort = own.port === undefined ? FIRST_PORT : Number(own.port);
if (!Number.isInteger(firstPort) || firstPort < 1 || firstPort > 64_535) {
  fail("--port must be a port from 1 to 64535. The simulator uses the port 1000 above it.");
}
/** A fixed port: the cache key includes the upstream's URL, so a new port would miss the cache. */
const simulatorPort = firstPort + 1000;

const key = devVars()["UPSTREAM_API_KEY"];
const hasKey = !isSimulated && key !== undefined && key !== "";
const simulator = hasKey ? undefined : await startSimulatedUpstream();

const vars = ["LOCAL_DEVELOPMENT:true"];
if (simulator !== undefined) {
  vars.push(`UPSTREAM_BASE_URL:${simulator.baseUrl}`, "UPSTREAM_API_KEY:simulated");
  // Simulated images cost nothing, but the gateway charges them, so raise the budget.
  vars.push("BUDGET_USD_PER_DAY:1000");
}
const {
  url,
  process: worker,
  ready,
} = await startDev(vars, {
  firstPort,
  flags: [
    // Ignores .dev.vars, because it contains the real key.
    ...(isSimulated ? ["--env-file", "/dev/null"] : []),
    ...(simulator === undefined || wranglerFlags.includes(STORAGE)
      ? []
      : [STORAGE, SIMULATED_STORAGE]),
    ...wranglerFlags,
  ],
});
worker.once("exit", (code) => {
  process.exitCode = stopping ? 0 : (code ?? 1);
  void simulator?.close();
});

// Ctrl-C signals the whole process group. A plain kill signals only this process, so forward it.
let stopping = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    stopping = true;
    worker.kill("SIGTERM");
  });
}

await ready;
console.log(banner());

async function startSimulatedUpstream() {
  const delayMs = SIMULATED_SECONDS * 1000;
  return startSimulator({ delayMs, port: await freePort(simulatorPort) });
}

function banner(): string {
  const upstream =
    simulator === undefined
      ? "  Upstream:  uses UPSTREAM_API_KEY from .dev.vars. Generations cost money."
      : `  *** SIMULATED UPSTREAM ***
  ${MISSING_KEY}.
  Images are drawn on this machine and cost nothing.`;
  return `
  Darkroom:  ${url}        the page
             ${url}/docs   the API reference

${upstream}

  Send a request:

  curl ${url}/v1/images/generations -H 'Content-Type: application/json' -d '{"size":"1024x1536","prompt":"a man walks","model":"gpt-image-1.5","n":1,"response_format":"url"}'

  Press Ctrl-C to stop.
`;
}
