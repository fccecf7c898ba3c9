import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { MISSING_KEY } from "../src/config.ts";
import { startSimulator } from "../test/upstream/simulator.ts";

/** About what a fast model takes, so that waiting can be seen. */
const SIMULATED_SECONDS = 2;
const FIRST_PORT = 8787;
const READY_WITHIN_MS = 60_000;

/** `npm start -- --simulated` uses the simulator whatever is in .dev.vars. */
const SIMULATED = "--simulated";
const isSimulated = process.argv.includes(SIMULATED);
const wranglerFlags = process.argv.slice(2).filter((flag) => flag !== SIMULATED);

const root = join(import.meta.dirname, "..");
const devVarsFile = join(root, ".dev.vars");
const devVars = existsSync(devVarsFile) ? parseEnv(readFileSync(devVarsFile, "utf8")) : {};
const hasKey =
  !isSimulated && devVars["UPSTREAM_API_KEY"] !== undefined && devVars["UPSTREAM_API_KEY"] !== "";

const port = await freePort(Number(process.env["PORT"] ?? FIRST_PORT));
const url = `http://127.0.0.1:${port}`;
const simulator = hasKey ? undefined : await startSimulator({ delayMs: SIMULATED_SECONDS * 1000 });

const vars = ["LOCAL_DEVELOPMENT:true"];
if (simulator !== undefined) {
  vars.push(`UPSTREAM_BASE_URL:${simulator.baseUrl}`, "UPSTREAM_API_KEY:simulated");
  // What the simulator paints costs nothing, however dear the gateway thinks it is.
  vars.push("BUDGET_USD_PER_DAY:1000");
}
const worker = startWorker(vars);
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

await ready();
console.log(banner());

function startWorker(bindings: readonly string[]): ChildProcess {
  const flags = ["--ip", "127.0.0.1", "--port", String(port), "--log-level", "log"];
  const wrangler = join(root, "node_modules/wrangler/bin/wrangler.js");
  return spawn(
    process.execPath,
    [
      wrangler,
      "dev",
      ...flags,
      ...bindings.flatMap((binding) => ["--var", binding]),
      // Without .dev.vars, which would bring the key along.
      ...(isSimulated ? ["--env-file", "/dev/null"] : []),
      // npm start -- --persist-to …
      ...wranglerFlags,
    ],
    {
      cwd: root,
      // Not the terminal's: its Ctrl-C comes through us, once.
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
    },
  );
}

async function ready(): Promise<void> {
  const deadline = Date.now() + READY_WITHIN_MS;
  while (worker.exitCode === null && Date.now() < deadline) {
    const answered = await fetch(`${url}/health`).then(
      (response) => response.ok,
      () => false,
    );
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  worker.kill("SIGTERM");
  throw new Error("The Worker did not start.");
}

/** The port itself, or the next one that nobody uses. */
async function freePort(wanted: number): Promise<number> {
  const probe = createServer();
  const isFree = await new Promise<boolean>((resolve) => {
    probe.once("error", () => resolve(false));
    probe.listen(wanted, "127.0.0.1", () => resolve(true));
  });
  if (!isFree) return freePort(wanted + 1);
  await new Promise((resolve) => probe.close(resolve));
  return wanted;
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
