import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deploymentUrl } from "./deployment-url.ts";
import { root, wrangler } from "./wrangler.ts";

/**
 * `npm run deploy [-- --env staging]`: runs the tests, deploys, and runs the doctor. Stops at the
 * first step that fails.
 *
 * On Cloudflare's builders (the Deploy button) it only deploys. They have neither a browser nor the
 * secrets, and CI has already tested the repository.
 */
const flags = process.argv.slice(2);
const env = flags.some((flag) => /^(?:--env|-e)\b/.test(flag)) ? [] : ["--env", ""];
const isBuilder = process.env["WORKERS_CI"] === "1";

/** A new domain name does not resolve at once. */
const REACHABLE_WITHIN_MS = 3 * 60 * 1000;
const POLL_INTERVAL_MS = 3000;

if (!isBuilder) await run("npm", ["test"]);
const url = await deploy();
if (url === undefined) {
  console.log("Deployed. wrangler printed no URL. Run: npm run doctor -- --url https://…");
} else if (!isBuilder) {
  await waitUntilReachable(url);
  await run(process.execPath, [join(import.meta.dirname, "doctor.ts"), "--url", url]);
}

/** Deploys the Worker and returns its URL, if wrangler prints one. */
async function deploy(): Promise<string | undefined> {
  const directory = await mkdtemp(join(tmpdir(), "darkroom-deploy-"));
  const output = join(directory, "output.ndjson");
  await run(process.execPath, [wrangler, "deploy", ...env, ...flags], {
    WRANGLER_OUTPUT_FILE_PATH: output,
  });
  const lines = (await readFile(output, "utf8")).trim().split("\n");
  await rm(directory, { recursive: true });
  const deployed = lines
    .map((line): { type: string; targets?: string[] } => JSON.parse(line))
    .find(({ type }) => type === "deploy");
  return deploymentUrl(deployed?.targets ?? []);
}

async function waitUntilReachable(url: string): Promise<void> {
  const deadlineMs = Date.now() + REACHABLE_WITHIN_MS;
  while (Date.now() < deadlineMs) {
    const isReachable = await fetch(`${url}/health`).then(
      () => true,
      () => false,
    );
    if (isReachable) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
  }
}

async function run(
  command: string,
  args: readonly string[],
  variables: Record<string, string> = {},
): Promise<void> {
  const child = spawn(command, args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...variables },
  });
  await once(child, "exit");
  if (child.exitCode !== 0) process.exit(child.exitCode ?? 1);
}
