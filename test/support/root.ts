import { join } from "node:path";

/** The root of the repository. */
export const root = join(import.meta.dirname, "../..");

/** The script behind `npm run token`. */
export const tokenScript = join(root, "scripts/token.ts");
