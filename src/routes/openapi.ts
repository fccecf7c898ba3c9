import type { Hono } from "hono";
import type { AppEnv } from "../http/context.ts";
import { openApiDocument } from "../openapi/document.ts";

const KEEP_SECONDS = 300;

/** `GET /openapi.json`: what the page at `/docs` shows. */
export function openApiRoute(app: Hono<AppEnv>): void {
  app.get("/openapi.json", (c) => {
    c.header("cache-control", `public, max-age=${KEEP_SECONDS}`);
    return c.json(openApiDocument(new URL(c.req.url).origin));
  });
}
