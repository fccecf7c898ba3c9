import { execFile } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "./root.ts";

/**
 * Bundles the Worker as a deployment does, with wrangler and wrangler.toml.
 *
 * @returns the path of the bundle, in a new folder
 */
export async function bundleWorker(): Promise<string> {
  const outdir = await mkdtemp(join(tmpdir(), "darkroom-"));
  const wrangler = join(root, "node_modules/wrangler/bin/wrangler.js");
  await promisify(execFile)(
    process.execPath,
    [wrangler, "deploy", "--dry-run", "--env", "", "--outdir", outdir],
    {
      cwd: root,
      env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
    },
  );
  return join(outdir, "index.js");
}
