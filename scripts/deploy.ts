import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * `npm run deploy [-- --env staging]`: the tests, the deployment, the doctor. Whatever fails ends it.
 *
 * On Cloudflare's own builders (the Deploy button) there is no browser, and the repository was tested
 * where it came from: there the tests are left out.
 */
const root = join(import.meta.dirname, "..");
const wrangler = join(root, "node_modules/wrangler/bin/wrangler.js");
const flags = process.argv.slice(2);
const env = flags.includes("--env") ? [] : ["--env", ""];

if (process.env["WORKERS_CI"] !== "1") await run("npm", ["test"]);
const url = await deploy();
if (url === undefined) {
  console.log("It is deployed. It has no address of its own: npm run doctor -- --url https://…");
} else {
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
  const target = deployed?.targets?.find((each) => !each.includes("*"));
  if (target === undefined) return undefined;
  return target.startsWith("http") ? target : `https://${target}`;
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
