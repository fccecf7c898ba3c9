import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./root.ts";

/** A gateway that `npm start` started, with its own storage. */
export interface Local {
  /** Without a trailing slash. */
  url: string;
  /** Its output until it was ready. */
  printed: string;
  close(): Promise<void>;
}

/** The number of ports of a test worker. */
export const PORTS = 20;

/** Returns the first port of a test worker: test files run in parallel, and two could pick the same free port. */
export function firstPort(): number {
  return 8900 + PORTS * Number(process.env["VITEST_WORKER_ID"] ?? 0);
}

const READY = /Darkroom: +(http:\S+)/;

/**
 * Starts Darkroom with `npm start`'s script, and waits until it prints its URL. It always uses the
 * simulator, so a key in the developer's .dev.vars is never used.
 *
 * @param vars that override those of `npm start`
 */
export async function startLocal(vars: Record<string, string> = {}): Promise<Local> {
  const directory = await mkdtemp(join(tmpdir(), "darkroom-local-"));
  const flags = Object.entries(vars).flatMap(([name, value]) => ["--var", `${name}:${value}`]);
  const script = join(root, "scripts/start.ts");
  const child = spawn(
    process.execPath,
    [script, "--simulated", "--port", String(firstPort()), "--persist-to", directory, ...flags],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let printed = "";
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on("data", (chunk: Buffer) => {
      printed += chunk.toString();
      const url = READY.exec(printed)?.[1];
      if (url !== undefined) resolve(url);
    });
    child.once("exit", () => reject(new Error(`npm start ended before it was ready:\n${printed}`)));
  });
  return {
    url,
    printed,
    async close() {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
      await rm(directory, { recursive: true });
    },
  };
}
