import { MISSING_KEY } from "../src/config/environment.ts";
import { startSimulator } from "../test/support/upstream/simulator.ts";
import { FIRST_PORT, freePort, startDev } from "./dev.ts";
import { devVars } from "./dev-vars.ts";

/** About what a fast model takes, so that waiting can be seen. */
const SIMULATED_SECONDS = 2;
/** The same each time, beside the Worker's: a picture of yesterday is one of this very upstream. */
const SIMULATOR_PORT = FIRST_PORT + 1000;

/** What is simulated spends no real budget, and is kept apart from what is real. */
const STORAGE = "--persist-to";
const SIMULATED_STORAGE = ".wrangler/simulated";

/** `npm start -- --simulated` uses the simulator whatever is in .dev.vars. */
const SIMULATED = "--simulated";
const isSimulated = process.argv.includes(SIMULATED);
const wranglerFlags = process.argv.slice(2).filter((flag) => flag !== SIMULATED);

const key = devVars()["UPSTREAM_API_KEY"];
const hasKey = !isSimulated && key !== undefined && key !== "";
const simulator = hasKey ? undefined : await simulated();

const vars = ["LOCAL_DEVELOPMENT:true"];
if (simulator !== undefined) {
  vars.push(`UPSTREAM_BASE_URL:${simulator.baseUrl}`, "UPSTREAM_API_KEY:simulated");
  // What the simulator paints costs nothing, however dear the gateway thinks it is.
  vars.push("BUDGET_USD_PER_DAY:1000");
}
const {
  url,
  process: worker,
  ready,
} = await startDev(vars, {
  flags: [
    // Without .dev.vars, which would bring the key along.
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

// Ctrl-C reaches the whole process group; a plain kill reaches only this process.
let stopping = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    stopping = true;
    worker.kill("SIGTERM");
  });
}

await ready;
console.log(banner());

async function simulated() {
  const delayMs = SIMULATED_SECONDS * 1000;
  return startSimulator({ delayMs, port: await freePort(SIMULATOR_PORT) });
}

function banner(): string {
  const upstream =
    simulator === undefined
      ? "  Upstream:  the real one, with the UPSTREAM_API_KEY in .dev.vars. Pictures cost money."
      : `  *** SIMULATED UPSTREAM ***
  ${MISSING_KEY}:
  the pictures are painted on this machine, and cost nothing.`;
  return `
  Darkroom:  ${url}   (a page to try it, and the API under /v1)

${upstream}

  Try it:

  curl ${url}/v1/images/generations -H 'Content-Type: application/json' -d '{"size":"1024x1536","prompt":"a man walks","model":"gpt-image-1.5","n":1,"response_format":"url"}'

  Ctrl-C ends it.
`;
}
