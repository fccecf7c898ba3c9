import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import { version } from "../../package.json";
import { spentLately } from "../access/budget.ts";
import { BINDINGS, SECRETS } from "../config.ts";
import { MICRO_PER_DOLLAR } from "../contract/pricing.ts";
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
              access: z.enum(["public", "token"]),
              turnstile_site_key: z.string().nullable().openapi({
                description: "Where it is set, POST /v1/tokens takes this widget's tokens.",
              }),
              budget: z.object({
                usd_per_day: z.number(),
                usd_left: z.number().openapi({ description: "Of today, UTC." }),
              }),
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
  app.openapi(route, async (c) => {
    const config = c.get("config");
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
        access: config.access,
        turnstile_site_key: config.turnstile?.siteKey ?? null,
        budget: {
          usd_per_day: config.budgetPerDay / MICRO_PER_DOLLAR,
          usd_left: (config.budgetPerDay - (await spentLately(config))) / MICRO_PER_DOLLAR,
        },
        local_development: config.localDevelopment,
      },
      200,
      { "cache-control": "no-store" },
    );
  });
}
