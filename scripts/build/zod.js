/**
 * Replaces the zod package in the bundle (`alias` in wrangler.toml). It exports the schemas without
 * the error messages in forty languages, which are a third of the bundle. The gateway writes its own
 * error messages.
 *
 * It has no export `z`: `import * as z from "zod"` lets the bundler omit the schemas that src does not use.
 *
 * Both paths are internal to zod, so an update may move them. test/unit/build/zod.test.ts checks them.
 */
export * from "../../node_modules/zod/v4/classic/schemas.js";
export { NEVER } from "../../node_modules/zod/v4/core/index.js";
