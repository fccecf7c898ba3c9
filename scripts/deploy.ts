import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addressIn } from "./address.ts";

/**
 * `npm run deploy [-- --env staging]`: the tests, the deployment, the doctor. Whatever fails ends it.
 *
 * On Cloudflare's own builders (the Deploy button) there is no browser and no secret, and the
 * repository was tested where it came from: there it only deploys.
 */
const root = join(import.meta.dirname, "..");
const wrangler = join(root, "node_modules/wrangler/bin/wrangler.js");
const flags = process.argv.slice(2);
const env = flags.some((flag) => /^(?:--env|-e)\b/.test(flag)) ? [] : ["--env", ""];
const isBuilder = process.env["WORKERS_CI"] === "1";

/** A new address needs a moment until it is known everywhere. */
const KNOWN_WITHIN_MS = 3 * 60 * 1000;
const ASK_EVERY_MS = 3000;

if (!isBuilder) await run("npm", ["test"]);
const url = await deploy();
if (url === undefined) {
  console.log(
    "It is deployed. Where that is wrangler does not tell: npm run doctor -- --url https://…",
  );
} else if (!isBuilder) {
  await known(url);
  await run(process.execPath, [join(import.meta.dirname, "doctor.ts"), "--url", url]);
}

/** @returns where it is, as wrangler tells it */
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
  return addressIn(deployed?.targets ?? []);
}

async function known(address: string): Promise<void> {
  const untilMs = Date.now() + KNOWN_WITHIN_MS;
  while (Date.now() < untilMs) {
    const answers = await fetch(`${address}/health`).then(
      () => true,
      () => false,
    );
    if (answers) return;
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
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
