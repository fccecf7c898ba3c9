import type { RouteConfig } from "@asteasolutions/zod-to-openapi";
import type * as z from "zod";

/** One operation of the document. */
export type Route = RouteConfig;

/** One response of an operation. */
export type RouteResponse = Exclude<RouteConfig["responses"][string], { $ref: string }>;

/** A token is required with `ACCESS=token`, and optional with `ACCESS=public`. */
export const OPTIONAL_TOKEN = [{}, { token: [] }];

/** The admin key is required. */
export const ADMIN_KEY = [{ adminKey: [] }];

/** The admin key, or a token, is required. */
export const CANCELLER = [...ADMIN_KEY, { token: [] }];

/** Returns the content of a body that is JSON. */
export function jsonContent<Schema extends z.ZodType>(schema: Schema) {
  return { "application/json": { schema } };
}
