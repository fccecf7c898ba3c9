import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

/** Well under the 3 MiB that the free plan allows: what is small starts fast. */
const MAX_GZIP_KIB = 120;

/** Of the second that the platform allows; of five starts the fastest, the others are the machine's. */
const MAX_STARTUP_MS = 50;
const STARTS = 5;

const run = promisify(execFile);
const root = join(import.meta.dirname, "..");
const wrangler = join(root, "node_modules/wrangler/bin/wrangler.js");
const directory = await mkdtemp(join(tmpdir(), "darkroom-gate-"));

const gzipKib = await bundleKib();
const startupMs = await fastestStartMs();
await rm(directory, { recursive: true });
console.log(`Bundle: ${gzipKib.toFixed(1)} KiB gzip (at most ${MAX_GZIP_KIB})`);
console.log(`Start-up: ${startupMs.toFixed(1)} ms (at most ${MAX_STARTUP_MS})`);
if (gzipKib > MAX_GZIP_KIB || startupMs > MAX_STARTUP_MS) process.exitCode = 1;

async function bundleKib(): Promise<number> {
  await wranglerRun(["deploy", "--dry-run", "--env", "", "--outdir", directory]);
  return gzipSync(await readFile(join(directory, "index.js"))).byteLength / 1024;
}

async function fastestStartMs(): Promise<number> {
  const times: number[] = [];
  for (let start = 0; start < STARTS; start += 1) {
    const profile = join(directory, `${start}.cpuprofile`);
    const { stdout } = await wranglerRun(["check", "startup", "--outfile", profile]);
    times.push(Number(/Active: ([\d.]+) ms/.exec(stdout)?.[1]));
  }
  return Math.min(...times);
}

function wranglerRun(args: readonly string[]): Promise<{ stdout: string }> {
  return run(process.execPath, [wrangler, ...args], {
    cwd: root,
    env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
  });
}
