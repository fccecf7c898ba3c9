import type { Hono } from "hono";
import { servedModel } from "../contract/catalog.ts";
import { listedModel, listedModels } from "../contract/model-list.ts";
import { withdrawalAt } from "../contract/retirement.ts";
import { GatewayError } from "../errors/failure.ts";
import type { AppEnv } from "../http/context.ts";

/** Registers `GET /v1/models` and `GET /v1/models/{id}`, from the table that validates requests. */
export function modelsRoutes(app: Hono<AppEnv>): void {
  app.get("/v1/models", (c) => {
    const config = c.get("config");
    const nowMs = Date.now();
    const data = listedModels(config, nowMs).map((model) => listedModel(model, config, nowMs));
    return c.json({ object: "list", data });
  });

  app.get("/v1/models/:id", (c) => {
    const config = c.get("config");
    const nowMs = Date.now();
    const model = servedModel(config, c.req.param("id"));
    if (model === undefined || withdrawalAt(model, config.upstream, nowMs) !== undefined) {
      throw new GatewayError({ code: "model_not_found" });
    }
    return c.json(listedModel(model, config, nowMs));
  });
}
