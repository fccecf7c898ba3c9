import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import { servedModel } from "../config.ts";
import { listedModel, modelListSchema, modelSchema } from "../contract/model-list.ts";
import { errorResponses } from "../contract/response.ts";
import { GatewayError } from "../errors.ts";
import type { AppEnv } from "../middleware/context.ts";

const listRoute = createRoute({
  method: "get",
  path: "/v1/models",
  summary: "The models that are served, and what each takes",
  responses: {
    200: {
      description: "The models",
      content: { "application/json": { schema: modelListSchema } },
    },
    ...errorResponses,
  },
});

const oneRoute = createRoute({
  method: "get",
  path: "/v1/models/{id}",
  summary: "One model, and what it takes",
  request: { params: z.object({ id: z.string() }) },
  responses: {
    200: { description: "The model", content: { "application/json": { schema: modelSchema } } },
    ...errorResponses,
  },
});

/** `GET /v1/models` and `GET /v1/models/{id}`, made from the table that validates. */
export function modelsRoutes(app: OpenAPIHono<AppEnv>): void {
  app.openapi(listRoute, (c) => {
    const config = c.get("config");
    const data = [...config.models.values()].map((model) => listedModel(model, config));
    return c.json({ object: "list" as const, data }, 200);
  });

  app.openapi(oneRoute, (c) => {
    const config = c.get("config");
    const model = servedModel(config, c.req.valid("param").id);
    if (model === undefined) throw new GatewayError({ code: "model_not_found" });
    return c.json(listedModel(model, config), 200);
  });
}
