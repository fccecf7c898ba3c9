import { execFile } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/**
 * Bundles the Worker just as a deployment does, with wrangler and wrangler.toml.
 *
 * @returns the path of the bundle
 */
export async function bundleWorker(): Promise<string> {
  const outdir = await mkdtemp(join(tmpdir(), "darkroom-"));
  const wrangler = join(import.meta.dirname, "../../node_modules/wrangler/bin/wrangler.js");
  await promisify(execFile)(
    process.execPath,
    [wrangler, "deploy", "--dry-run", "--env", "", "--outdir", outdir],
    {
      cwd: join(import.meta.dirname, "../.."),
      env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
    },
  );
  return join(outdir, "index.js");
}
