import type { Hono } from "hono";
import { GatewayError } from "../errors/failure.ts";
import type { AppEnv } from "../http/context.ts";

/** Registers `POST /v1/images/variations`: retired with dall-e-2, the only model that had it. */
export function variationsRoute(app: Hono<AppEnv>): void {
  app.post("/v1/images/variations", () => {
    throw new GatewayError({ code: "endpoint_retired" });
  });
}
