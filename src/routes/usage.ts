import type { Hono } from "hono";
import { releaseUncertain, usageOf } from "../access/accounts.ts";
import type { UsageRow } from "../access/usage.ts";
import { MICRO_PER_DOLLAR } from "../contract/pricing.ts";
import { GatewayError } from "../errors/failure.ts";
import { requireAdminOf } from "../http/admin.ts";
import type { AppEnv } from "../http/context.ts";
import { dayOf, nowSeconds } from "../lib/clock.ts";

const PATH = "/v1/usage";

/** Registers `GET /v1/usage` and `DELETE /v1/usage/uncertain`, for the operator. */
export function usageRoute(app: Hono<AppEnv>): void {
  app.get(PATH, async (c) => {
    await requireAdminOf(c);
    const config = c.get("config");
    const { rows, isComplete, spentToday } = await usageOf(config);
    const days = Map.groupBy(rows, (row) => row.day);
    const today = sumOf(days.get(dayOf(nowSeconds())) ?? []);
    c.header("cache-control", "no-store");
    return c.json({
      object: "usage",
      budget_usd_per_day: config.budgetPerDay / MICRO_PER_DOLLAR,
      spent_today_usd: spentToday / MICRO_PER_DOLLAR,
      uncertain_usd: today.uncertain_usd,
      days: [...days].map(([day, ofDay]) => usageOfDay(day, ofDay)),
      ...(isComplete ? {} : { incomplete: true }),
    });
  });

  app.delete(`${PATH}/uncertain`, async (c) => {
    const config = c.get("config");
    await requireAdminOf(c);
    const day = parseDay(c.req.query("day"));
    const { generations, amount, hasMore } = await releaseUncertain(config, day);
    return c.json({
      object: "usage.released",
      generations,
      released_usd: amount / MICRO_PER_DOLLAR,
      has_more: hasMore,
    });
  });
}

/**
 * Returns the UTC day in a query; `undefined` without one.
 *
 * @throws {GatewayError} `malformed_value`
 */
function parseDay(day: string | undefined): string | undefined {
  const ms = day === undefined ? 0 : Date.parse(`${day}T00:00:00Z`);
  if (day === undefined || (!Number.isNaN(ms) && dayOf(ms / 1000) === day)) return day;
  const problem = "must be a day such as 2026-11-26";
  throw new GatewayError({ code: "malformed_value", param: "day", problem });
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
    uncertain_usd: sum((row) => row.uncertain ?? 0) / MICRO_PER_DOLLAR,
    saved_usd: sum((row) => row.saved) / MICRO_PER_DOLLAR,
  };
}
