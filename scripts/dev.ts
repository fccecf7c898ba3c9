import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";

/** The first that is tried. */
export const FIRST_PORT = Number(process.env["PORT"] ?? 8787);
const READY_WITHIN_MS = 60_000;

/** The Worker on this machine, as `wrangler dev` runs it. */
export interface Dev {
  /** Without a slash at its end. */
  url: string;
  process: ChildProcess;
  /** Resolves when it answers. */
  ready: Promise<void>;
  close(): Promise<void>;
}

export interface DevOptions {
  /** For wrangler. */
  flags?: readonly string[];
  /** Whether what wrangler and the Worker print is kept back. */
  isQuiet?: boolean;
}

/**
 * Starts it on the first free port from `PORT` on.
 *
 * @param vars `NAME:value`, on top of those in wrangler.toml and .dev.vars
 */
export async function startDev(
  vars: readonly string[],
  { flags = [], isQuiet = false }: DevOptions = {},
): Promise<Dev> {
  const root = join(import.meta.dirname, "..");
  const port = await freePort(FIRST_PORT);
  const url = `http://127.0.0.1:${port}`;
  const output = isQuiet ? "ignore" : "inherit";
  const worker = spawn(
    process.execPath,
    [
      join(root, "node_modules/wrangler/bin/wrangler.js"),
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
      // Not the terminal's: its Ctrl-C comes through us, once.
      stdio: ["ignore", output, output],
      env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
    },
  );
  return {
    url,
    process: worker,
    ready: answers(url, worker),
    async close() {
      if (worker.exitCode !== null) return;
      const ended = once(worker, "exit");
      worker.kill("SIGTERM");
      await ended;
    },
  };
}

async function answers(url: string, worker: ChildProcess): Promise<void> {
  const deadline = Date.now() + READY_WITHIN_MS;
  while (worker.exitCode === null && Date.now() < deadline) {
    // Whatever it answers: one that is set up wrongly says so.
    const answered = await fetch(`${url}/health`).then(
      () => true,
      () => false,
    );
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  worker.kill("SIGTERM");
  throw new Error("The Worker did not start.");
}

/** The port itself, or the next one that nobody uses. */
export async function freePort(wanted: number): Promise<number> {
  const probe = createServer();
  const isFree = await new Promise<boolean>((resolve) => {
    probe.once("error", () => resolve(false));
    probe.listen(wanted, "127.0.0.1", () => resolve(true));
  });
  if (!isFree) return freePort(wanted + 1);
  await new Promise((resolve) => probe.close(resolve));
  return wanted;
}
