import type { Hono } from "hono";
import { requireAdmin } from "../access/admin.ts";
import { spentToday } from "../access/budget.ts";
import type { Config } from "../config.ts";
import type { DoctorCheck } from "../contract/doctor.ts";
import { knownModel } from "../contract/models.ts";
import { MICRO_PER_DOLLAR, type MicroDollars } from "../contract/pricing.ts";
import { findMade } from "../generation/handle.ts";
import type { AppEnv } from "../middleware/context.ts";
import { upstreamModels, type Listing } from "../upstream/models.ts";

/** `GET /v1/doctor`: for the owner. What can be found out from within; costs nothing. */
export function doctorRoute(app: Hono<AppEnv>): void {
  app.get("/v1/doctor", async (c) => {
    const config = c.get("config");
    await requireAdmin(c.req.header("authorization"), config.adminKey);
    const listing = await upstreamModels(config.upstream);
    const checks = [
      upstreamCheck(listing),
      modelCheck(listing, config),
      await tried("kv", () => kvCheck(config)),
      await tried("object", () => objectCheck(config)),
      await tried("workflow", () => workflowCheck(config)),
      await tried("budget", () => budgetCheck(config)),
    ];
    c.header("cache-control", "no-store");
    return c.json({ object: "doctor", now_ms: Date.now(), checks });
  });
}

function upstreamCheck(listing: Listing): DoctorCheck {
  const name = "upstream";
  switch (listing.kind) {
    case "listed":
      return { name, ok: true, detail: "reached, and takes the key" };
    case "unlisted":
      return {
        name,
        // A redirect or a fault comes of a request for a picture too; many servers have no list.
        ok: listing.status < 300 || listing.status === 404 || listing.status === 405,
        detail: `reached; it answers GET /models with ${listing.status} and no list, so the key is not known to be good`,
        cure: "Check UPSTREAM_BASE_URL, which ends in /v1 for most.",
      };
    case "refused":
      return {
        name,
        ok: false,
        detail: `it does not take the key (${listing.status})`,
        cure: "npx wrangler secret put UPSTREAM_API_KEY",
      };
    case "no_key":
      return {
        name,
        ok: false,
        detail: "there is no key",
        cure: "npx wrangler secret put UPSTREAM_API_KEY, or a line in .dev.vars",
      };
    case "unreachable":
      return {
        name,
        ok: false,
        detail: "it cannot be reached",
        cure: "Check UPSTREAM_BASE_URL.",
      };
  }
}

function modelCheck(listing: Listing, { defaultModel, models }: Config): DoctorCheck {
  const name = "model";
  const id = models.get(defaultModel)?.upstreamId ?? defaultModel;
  const cure = `Set DEFAULT_MODEL, or MODEL_ALIASES = "${defaultModel}=…" to a model that it has.`;
  if (listing.kind === "listed" && !listing.ids.includes(id)) {
    return { name, ok: false, detail: `the upstream does not list ${id}`, cure };
  }
  const isListed = listing.kind === "listed" ? "the upstream has it" : "the upstream was not asked";
  const shutdown = knownModel(id)?.shutdown ?? undefined;
  const retired = shutdown === undefined ? "" : `; OpenAI itself retires it on ${shutdown}`;
  return { name, ok: true, detail: `${id}, by default: ${isListed}${retired}` };
}

async function kvCheck({ cache }: Config): Promise<string> {
  const key = `doctor/${crypto.randomUUID()}`;
  await cache.put(key, key, { expirationTtl: 60 });
  if ((await cache.get(key)) !== key) throw new Unwell("it has not what was written");
  await cache.delete(key);
  return "written and read";
}

async function objectCheck(config: Config): Promise<string> {
  await findMade(config, "doctor", 0);
  return "asked, and answered";
}

/** One that was never begun: that it is not there is said by the platform itself. */
async function workflowCheck({ imageJobs }: Config): Promise<string> {
  try {
    await imageJobs.get("doctor");
  } catch (error) {
    if (!(error instanceof Error) || !error.message.includes("not_found")) throw error;
  }
  return "asked, and answered";
}

async function budgetCheck(config: Config): Promise<string> {
  const { budgetPerDay } = config;
  const left = budgetPerDay - (await spentToday(config));
  if (left <= 0) throw new Unwell("the day's money is spent");
  return `${dollars(left)} of today's ${dollars(budgetPerDay)} are left`;
}

function dollars(micro: MicroDollars): string {
  return `$${(micro / MICRO_PER_DOLLAR).toFixed(2)}`;
}

/** What was found to be wrong, in our own words. */
class Unwell extends Error {
  override readonly name = "Unwell";
}

type Tried = "kv" | "object" | "workflow" | "budget";

/** What to do where a part does not do its own. */
const CURES: Record<Tried, string> = {
  kv: "Check the binding CACHE; on the free plan also whether the day's 1,000 writes are used up.",
  object: "Check the binding GENERATION and the migrations in wrangler.toml; deploy again.",
  workflow: "Check [[workflows]] in wrangler.toml; deploy again.",
  budget: "Raise BUDGET_USD_PER_DAY, or wait for midnight UTC.",
};

async function tried(name: Tried, check: () => Promise<string>): Promise<DoctorCheck> {
  try {
    return { name, ok: true, detail: await check() };
  } catch (error) {
    // What others say of themselves may hold what it was about.
    const detail = error instanceof Unwell ? error.message : "it does not work";
    return { name, ok: false, detail, cure: CURES[name] };
  }
}
