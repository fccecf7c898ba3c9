import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./root.ts";

/** What `npm start` starts, with storage of its own. */
export interface Local {
  /** Without a slash at its end. */
  url: string;
  /** What it printed until it was ready. */
  printed: string;
  close(): Promise<void>;
}

/** Test files run at the same time: each has ports of its own, or two would find the same one free. */
function firstPort(): number {
  return 8900 + 20 * Number(process.env["VITEST_WORKER_ID"] ?? 0);
}

const READY = /Darkroom: +(http:\S+)/;

/**
 * Starts Darkroom as a newcomer does, and waits until it says where it is. A key in the developer's
 * own .dev.vars is never used.
 *
 * @param vars on top of those that npm start sets
 */
export async function startLocal(vars: Record<string, string> = {}): Promise<Local> {
  const directory = await mkdtemp(join(tmpdir(), "darkroom-local-"));
  const flags = Object.entries(vars).flatMap(([name, value]) => ["--var", `${name}:${value}`]);
  const script = join(root, "scripts/start.ts");
  const child = spawn(
    process.execPath,
    [script, "--simulated", "--persist-to", directory, ...flags],
    {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, PORT: String(firstPort()) },
    },
  );
  let printed = "";
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on("data", (chunk: Buffer) => {
      printed += chunk.toString();
      const found = READY.exec(printed)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once("exit", () => reject(new Error(`It ended before it was ready:\n${printed}`)));
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
