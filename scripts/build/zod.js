/**
 * Replaces the zod package in the bundle (`alias` in wrangler.toml). It exports the schemas without
 * the error messages in forty languages, which the package's `z` includes and which are a third of
 * the bundle. The gateway writes its own error messages.
 *
 * Both paths are internal to zod, so an update may move them. test/unit/build/zod.test.ts checks them.
 */
export * from "../../node_modules/zod/v4/classic/schemas.js";
export { NEVER } from "../../node_modules/zod/v4/core/index.js";
// oxlint-disable-next-line import/no-self-import -- `z` is this module, so that it includes NEVER
export * as z from "./zod.js";
