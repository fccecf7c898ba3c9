import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { root, wrangler } from "./wrangler.ts";

/** The first port to try, if none is requested. */
export const FIRST_PORT = Number(process.env["PORT"] ?? 8787);
const READY_WITHIN_MS = 60_000;

/** The Worker on this machine, run by `wrangler dev`. */
export interface Dev {
  /** The base URL, without a trailing slash. */
  url: string;
  process: ChildProcess;
  /** Resolves when the Worker responds. */
  ready: Promise<void>;
  close(): Promise<void>;
}

export interface DevOptions {
  /** Flags for wrangler. */
  flags?: readonly string[];
  /** The first port to try. */
  firstPort?: number;
  /** True if the output of wrangler and the Worker is discarded. */
  isQuiet?: boolean;
}

/**
 * Starts the Worker on the first free port, counting up from `firstPort`.
 *
 * @param vars `NAME:value`. They override wrangler.toml and .dev.vars.
 */
export async function startDev(
  vars: readonly string[],
  { flags = [], firstPort = FIRST_PORT, isQuiet = false }: DevOptions = {},
): Promise<Dev> {
  const port = await freePort(firstPort);
  const url = `http://127.0.0.1:${port}`;
  const output = isQuiet ? "ignore" : "inherit";
  const worker = spawn(
    process.execPath,
    [
      wrangler,
      "dev",
      "--ip=127.0.0.1",
      `--port=${port}`,
      "--log-level=log",
      "--env=",
      ...vars.flatMap((binding) => ["--var", binding]),
      ...flags,
    ],
    {
      cwd: root,
      // No terminal input: the caller's signal handler forwards Ctrl-C, once.
      stdio: ["ignore", output, output],
      env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
    },
  );
  return {
    url,
    process: worker,
    ready: waitUntilReady(url, worker),
    async close() {
      if (worker.exitCode !== null) return;
      const exited = once(worker, "exit");
      worker.kill("SIGTERM");
      await exited;
    },
  };
}

async function waitUntilReady(url: string, worker: ChildProcess): Promise<void> {
  const deadlineMs = Date.now() + READY_WITHIN_MS;
  while (worker.exitCode === null && Date.now() < deadlineMs) {
    // Any status counts: a misconfigured Worker responds with an error that names the reason.
    const hasResponded = await fetch(`${url}/health`).then(
      () => true,
      () => false,
    );
    if (hasResponded) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  worker.kill("SIGTERM");
  throw new Error("The Worker did not start.");
}

/** Returns the first free port, counting up from `first`. */
export async function freePort(first: number): Promise<number> {
  const probe = createServer();
  const isFree = await new Promise<boolean>((resolve) => {
    probe.once("error", () => resolve(false));
    probe.listen(first, "127.0.0.1", () => resolve(true));
  });
  if (!isFree) return freePort(first + 1);
  await new Promise((resolve) => probe.close(resolve));
  return first;
}
