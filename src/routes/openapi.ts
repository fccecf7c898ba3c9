import type { Hono } from "hono";
import type { AppEnv } from "../http/context.ts";

const MAX_AGE_SECONDS = 300;

/** Registers `GET /openapi.json`: the document that the page at `/docs` shows. */
export function openApiRoute(app: Hono<AppEnv>): void {
  app.get("/openapi.json", async (c) => {
    // Loaded on demand: building the schemas at start-up would delay the first request of an instance.
    const { openApiDocument } = await import("../openapi/document.ts");
    c.header("cache-control", `public, max-age=${MAX_AGE_SECONDS}`);
    return c.json(openApiDocument(new URL(c.req.url).origin, c.get("config"), Date.now()));
  });
}
