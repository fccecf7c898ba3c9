import { join } from "node:path";

/** The root of the repository. */
export const root = join(import.meta.dirname, "..");

/** The script of the installed wrangler, to run with Node. */
export const wrangler = join(root, "node_modules/wrangler/bin/wrangler.js");
