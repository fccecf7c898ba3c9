import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { root, wrangler } from "./wrangler.ts";

/** Far below the free plan's limit of 3 MiB, because a small bundle starts fast. */
const MAX_GZIP_KIB = 136;

/**
 * The limit of the gateway's start-up time as a multiple of the bare Worker's in the same run, which measures
 * the load of the machine. The platform's own limit is one second.
 */
const MAX_STARTUP_RATIO = 2.5;

/** The gate compares the fastest start of each Worker. It starts them again while the ratio is above the limit. */
const MIN_STARTS = 3;
const MAX_STARTS = 15;

const run = promisify(execFile);
const directory = await mkdtemp(join(tmpdir(), "darkroom-gate-"));

const bareConfig = join(directory, "wrangler.json");
await writeFile(
  bareConfig,
  JSON.stringify({
    name: "bare",
    main: join(root, "scripts/bare-worker.ts"),
    compatibility_date: "2026-10-23",
    minify: true,
  }),
);

const gzipKib = await bundleKib();
const startup = await fastestStarts();
const ratio = startup.gatewayMs / startup.bareMs;
await rm(directory, { recursive: true });
console.log(`Bundle: ${gzipKib.toFixed(1)} KiB gzip (limit ${MAX_GZIP_KIB} KiB)`);
console.log(
  `Start-up: ${ratio.toFixed(2)}x a bare Worker (limit ${MAX_STARTUP_RATIO}x), ` +
    `${startup.gatewayMs.toFixed(1)} ms and ${startup.bareMs.toFixed(1)} ms`,
);
if (gzipKib > MAX_GZIP_KIB || !(ratio <= MAX_STARTUP_RATIO)) process.exitCode = 1;

async function bundleKib(): Promise<number> {
  await runWrangler(["deploy", "--dry-run", "--env", "", "--outdir", directory]);
  return gzipSync(await readFile(join(directory, "index.js"))).byteLength / 1024;
}

/** Starts both Workers in turn. Returns the time of the fastest start of each. */
async function fastestStarts(): Promise<{ gatewayMs: number; bareMs: number }> {
  let gatewayMs = Number.POSITIVE_INFINITY;
  let bareMs = Number.POSITIVE_INFINITY;
  for (let start = 0; start < MAX_STARTS; start += 1) {
    gatewayMs = Math.min(gatewayMs, await startMs([]));
    bareMs = Math.min(bareMs, await startMs([`--args=--config=${bareConfig}`]));
    if (start + 1 >= MIN_STARTS && gatewayMs <= MAX_STARTUP_RATIO * bareMs) break;
  }
  return { gatewayMs, bareMs };
}

async function startMs(options: readonly string[]): Promise<number> {
  const outfile = join(directory, "start.cpuprofile");
  const { stdout } = await runWrangler(["check", "startup", "--outfile", outfile, ...options]);
  const active = /Active: ([\d.]+) ms/.exec(stdout)?.[1];
  if (active === undefined) throw new Error(`wrangler check startup reported no time: ${stdout}`);
  return Number(active);
}

function runWrangler(args: readonly string[]): Promise<{ stdout: string }> {
  return run(process.execPath, [wrangler, ...args], {
    cwd: root,
    env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
  });
}
