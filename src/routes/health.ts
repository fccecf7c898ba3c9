import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import { version } from "../../package.json";
import { BINDINGS, SECRETS } from "../config.ts";
import type { AppEnv } from "../middleware/context.ts";

const present = z.record(z.string(), z.boolean());

const route = createRoute({
  method: "get",
  path: "/health",
  summary: "Whether the gateway runs, and with what",
  responses: {
    200: {
      description: "It runs",
      content: {
        "application/json": {
          schema: z
            .object({
              status: z.literal("ok"),
              version: z.string(),
              bindings: present,
              secrets: present,
              local_development: z.boolean(),
            })
            .openapi("Health"),
        },
      },
    },
  },
});

/** `GET /health`: names of bindings and secrets and whether each is there, never a value. */
export function healthRoute(app: OpenAPIHono<AppEnv>): void {
  app.openapi(route, (c) => {
    const isPresent = (name: string) => {
      const value: unknown = Reflect.get(c.env, name);
      return [name, value !== undefined && value !== ""] as const;
    };
    return c.json(
      {
        status: "ok" as const,
        version,
        bindings: Object.fromEntries(BINDINGS.map(isPresent)),
        secrets: Object.fromEntries(SECRETS.map(isPresent)),
        local_development: c.get("config").localDevelopment,
      },
      200,
      { "cache-control": "no-store" },
    );
  });
}
