import type { Hono } from "hono";
import type { Config } from "../config/environment.ts";
import type { AppEnv } from "../http/context.ts";
import { dayOf, nowSeconds } from "../lib/clock.ts";

const MAX_AGE_SECONDS = 300;

/** The latest document of a configuration, because building one takes longer than a cache hit. */
const documents = new WeakMap<Config, { name: string; document: object }>();

/** Registers `GET /openapi.json`: the document that the page at `/docs` shows. */
export function openApiRoute(app: Hono<AppEnv>): void {
  app.get("/openapi.json", async (c) => {
    const config = c.get("config");
    const { origin } = new URL(c.req.url);
    // OpenAI shuts a model down at the start of a day.
    const name = `${origin} ${dayOf(nowSeconds())}`;
    let latest = documents.get(config);
    if (latest?.name !== name) {
      // Loaded on demand: building the schemas at start-up would delay the first request of an instance.
      const { openApiDocument } = await import("../openapi/document.ts");
      latest = { name, document: openApiDocument(origin, config, Date.now()) };
      documents.set(config, latest);
    }
    c.header("cache-control", `public, max-age=${MAX_AGE_SECONDS}`);
    return c.json(latest.document);
  });
}
