import type { Hono } from "hono";
import { requireAdmin } from "../access/admin.ts";
import { usageOf } from "../access/accounts.ts";
import type { UsageRow } from "../access/usage.ts";
import { MICRO_PER_DOLLAR } from "../contract/pricing.ts";
import type { AppEnv } from "../http/context.ts";

/** Registers `GET /v1/usage`, for the operator. */
export function usageRoute(app: Hono<AppEnv>): void {
  app.get("/v1/usage", async (c) => {
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
