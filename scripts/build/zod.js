/**
 * zod as the bundle has it, instead of the package (`alias` in wrangler.toml): the schemas, without the
 * words of forty languages, a third of the bundle, that the package's `z` brings along. Whatever goes
 * wrong is said in our own words.
 */
import * as z from "../../node_modules/zod/v4/classic/schemas.js";

export * from "../../node_modules/zod/v4/classic/schemas.js";
export { NEVER } from "../../node_modules/zod/v4/core/index.js";
export { z };
