import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import { requireAdmin } from "../access/admin.ts";
import { usageOf } from "../access/budget.ts";
import type { UsageRow } from "../access/usage.ts";
import { MICRO_PER_DOLLAR } from "../contract/pricing.ts";
import { errorResponses } from "../contract/response.ts";
import type { AppEnv } from "../middleware/context.ts";

const counts = {
  images: z.int().openapi({ description: "Pictures that were made." }),
  hits: z.int().openapi({ description: "Requests answered with what was made before." }),
  collapsed: z.int().openapi({ description: "Requests that joined one that was going on." }),
  spent_usd: z.number(),
  saved_usd: z.number().openapi({ description: "What the hits would have cost." }),
};

const route = createRoute({
  method: "get",
  path: "/v1/usage",
  summary: "What was made and spent, today and on the 31 days before",
  responses: {
    200: {
      description: "The newest day first",
      content: {
        "application/json": {
          schema: z
            .object({
              object: z.literal("usage"),
              budget_usd_per_day: z.number(),
              spent_today_usd: z.number().openapi({
                description: "With what is reserved for pictures that are being made.",
              }),
              days: z.array(
                z.object({
                  day: z.string().openapi({ description: "YYYY-MM-DD, UTC." }),
                  ...counts,
                  callers: z.array(z.object({ caller: z.string(), model: z.string(), ...counts })),
                }),
              ),
            })
            .openapi("UsageOfDays"),
        },
      },
    },
    ...errorResponses,
  },
});

/** `GET /v1/usage`: for the owner. */
export function usageRoute(app: OpenAPIHono<AppEnv>): void {
  app.openAPIRegistry.registerPath(route);
  app.get(route.path, async (c) => {
    const config = c.get("config");
    await requireAdmin(c.req.header("authorization"), config.adminKey);
    const { rows, spentToday } = await usageOf(config);
    const days = Map.groupBy(rows, (row) => row.day);
    c.header("cache-control", "no-store");
    return c.json({
      object: "usage",
      budget_usd_per_day: config.budgetPerDay / MICRO_PER_DOLLAR,
      spent_today_usd: spentToday / MICRO_PER_DOLLAR,
      days: [...days].map(([day, ofDay]) => usageOfDay(day, ofDay)),
    });
  });
}

function usageOfDay(day: string, rows: readonly UsageRow[]) {
  return { day, ...sumOf(rows), callers: rows.map((row) => usageOfCaller(row)) };
}

function usageOfCaller(row: UsageRow) {
  const { caller, model } = row;
  return { caller, model, ...sumOf([row]) };
}

function sumOf(rows: readonly UsageRow[]) {
  const sum = (of: (row: UsageRow) => number) => rows.reduce((total, row) => total + of(row), 0);
  return {
    images: sum((row) => row.images),
    hits: sum((row) => row.hits),
    collapsed: sum((row) => row.collapsed),
    spent_usd: sum((row) => row.spent) / MICRO_PER_DOLLAR,
    saved_usd: sum((row) => row.saved) / MICRO_PER_DOLLAR,
  };
}
