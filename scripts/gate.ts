import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { root, wrangler } from "./wrangler.ts";

/** Far below the free plan's limit of 3 MiB, because a small bundle starts fast. */
const MAX_GZIP_KIB = 136;

/**
 * The platform's limit is one second. The gate starts the Worker until one start is fast enough, because
 * slower ones measure the load of the machine.
 */
const MAX_STARTUP_MS = 50;
const MAX_STARTS = 20;

const run = promisify(execFile);
const directory = await mkdtemp(join(tmpdir(), "darkroom-gate-"));

const gzipKib = await bundleKib();
const startupMs = await fastestStartMs();
await rm(directory, { recursive: true });
console.log(`Bundle: ${gzipKib.toFixed(1)} KiB gzip (limit ${MAX_GZIP_KIB} KiB)`);
console.log(`Start-up: ${startupMs.toFixed(1)} ms (limit ${MAX_STARTUP_MS} ms)`);
if (gzipKib > MAX_GZIP_KIB || !isFast(startupMs)) process.exitCode = 1;

/** Returns true within the limit; false for NaN, if wrangler reports no time. */
function isFast(startupMs: number): boolean {
  return startupMs <= MAX_STARTUP_MS;
}

async function bundleKib(): Promise<number> {
  await runWrangler(["deploy", "--dry-run", "--env", "", "--outdir", directory]);
  return gzipSync(await readFile(join(directory, "index.js"))).byteLength / 1024;
}

async function fastestStartMs(): Promise<number> {
  let fastestMs = Number.POSITIVE_INFINITY;
  for (let start = 0; start < MAX_STARTS && !isFast(fastestMs); start += 1) {
    const profile = join(directory, `${start}.cpuprofile`);
    const { stdout } = await runWrangler(["check", "startup", "--outfile", profile]);
    fastestMs = Math.min(fastestMs, Number(/Active: ([\d.]+) ms/.exec(stdout)?.[1]));
  }
  return fastestMs;
}

function runWrangler(args: readonly string[]): Promise<{ stdout: string }> {
  return run(process.execPath, [wrangler, ...args], {
    cwd: root,
    env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
  });
}
