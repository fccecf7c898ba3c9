import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { NEWEST_RULES } from "../contract/models.ts";
import { bodySchema, parseImageRequest } from "../contract/request.ts";
import { errorSchema, imagesResponseSchema } from "../contract/response.ts";
import { generate, type CacheOutcome } from "../generation/generate.ts";
import { parseCacheControl } from "../lib/cache-control.ts";
import type { AppEnv } from "../middleware/context.ts";
import { jsonBody } from "../middleware/json-body.ts";
import { jsonResponse } from "../respond/json.ts";

const route = createRoute({
  method: "post",
  path: "/v1/images/generations",
  summary: "Make images from a prompt",
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: bodySchema(NEWEST_RULES, {
            promptMaxChars: NEWEST_RULES.promptMaxChars,
            requireDocumentedFields: false,
          }),
        },
      },
    },
  },
  responses: {
    200: {
      description: "The images",
      content: { "application/json": { schema: imagesResponseSchema } },
    },
    default: {
      description: "What went wrong",
      content: { "application/json": { schema: errorSchema } },
    },
  },
});

/**
 * `POST /v1/images/generations`. Declared by its schema, but validated by its model's: which names
 * a body may hold depends on the model and the configuration.
 */
export function generationsRoute(app: OpenAPIHono<AppEnv>): void {
  app.openAPIRegistry.registerPath(route);
  app.post(route.getRoutingPath(), async (c) => {
    const event = c.get("event");
    const config = c.get("config");
    const request = parseImageRequest(await jsonBody(c), config);
    event.add({ model: request.model, size: request.size, quality: request.quality, n: request.n });

    const work = generate(request, parseCacheControl(c.req.header("cache-control")), {
      config,
      cache: c.get("cache"),
      event,
    });
    // A client that leaves must not take along what is being paid for: the platform gives it the
    // time it gives (30 s).
    c.executionCtx.waitUntil(Promise.allSettled([work]));
    const generation = await work;
    event.add({ generation: generation.record.id, cache: generation.outcome.kind });

    const response = jsonResponse(generation, {
      responseFormat: request.response_format,
      origin: new URL(c.req.url).origin,
      waitUntil: (writing) => c.executionCtx.waitUntil(writing),
    });
    response.headers.set("cache-status", cacheStatus(generation.outcome));
    if (generation.outcome.kind === "hit") {
      response.headers.set("age", String(generation.outcome.ageSeconds));
    }
    return response;
  });
}

/** RFC 9211: what the cache named `darkroom` did. */
function cacheStatus(outcome: CacheOutcome): string {
  if (outcome.kind === "hit") return `darkroom; hit; ttl=${outcome.ttlSeconds}`;
  return `darkroom; fwd=${outcome.kind}${outcome.stored ? "; stored" : ""}`;
}
