import type { Hono } from "hono";
import { version } from "../../package.json";
import { cachedSpentToday } from "../access/accounts.ts";
import { BINDINGS, SECRETS } from "../config/environment.ts";
import { MICRO_PER_DOLLAR } from "../contract/pricing.ts";
import type { AppEnv } from "../http/context.ts";

/** Registers `GET /health`: the names of bindings and secrets, and whether each is set. Never a value. */
export function healthRoute(app: Hono<AppEnv>): void {
  app.get("/health", async (c) => {
    const config = c.get("config");
    const isPresent = (name: string) => {
      const value: unknown = Reflect.get(c.env, name);
      return [name, value !== undefined && value !== ""] as const;
    };
    return c.json(
      {
        status: "ok",
        version,
        bindings: Object.fromEntries(BINDINGS.map(isPresent)),
        secrets: Object.fromEntries(SECRETS.map(isPresent)),
        access: config.access,
        turnstile_site_key: config.turnstile?.siteKey ?? null,
        budget: {
          usd_per_day: config.budgetPerDay / MICRO_PER_DOLLAR,
          usd_left: (config.budgetPerDay - (await cachedSpentToday(config))) / MICRO_PER_DOLLAR,
        },
        local_development: config.localDevelopment,
      },
      200,
      { "cache-control": "no-store" },
    );
  });
}
