import type { RouteConfig } from "@hono/zod-openapi";

/** One operation of the document. */
export type Route = RouteConfig;

/** One of its answers. */
export type Answer = Exclude<RouteConfig["responses"][string], { $ref: string }>;
