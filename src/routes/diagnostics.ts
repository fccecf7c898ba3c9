import type { Hono } from "hono";
import { requireAdmin } from "../access/admin.ts";
import { spentToday } from "../access/budget.ts";
import type { Config } from "../config/environment.ts";
import { servedModel } from "../contract/catalog.ts";
import type { DoctorCheck } from "../contract/diagnostics.ts";
import { MICRO_PER_DOLLAR, type MicroDollars } from "../contract/pricing.ts";
import {
  isShutDown,
  replacementOf,
  retirementOf,
  successorAt,
  withdrawalAt,
  type Retirement,
} from "../contract/retirement.ts";
import { lookupInObject } from "../generation/client.ts";
import type { AppEnv } from "../http/context.ts";
import { listUpstreamModels, type ModelListing } from "../upstream/models.ts";

/** `GET /v1/doctor`: for the owner. What can be found out from within; costs nothing. */
export function diagnosticsRoute(app: Hono<AppEnv>): void {
  app.get("/v1/doctor", async (c) => {
    const config = c.get("config");
    await requireAdmin(c.req.header("authorization"), config.adminKey);
    const listing = await listUpstreamModels(config.upstream);
    const nowMs = Date.now();
    const checks = [
      upstreamCheck(listing),
      modelCheck(listing, config, nowMs),
      aliasesCheck(config, nowMs),
      await tried("kv", () => kvCheck(config)),
      await tried("object", () => objectCheck(config)),
      await tried("workflow", () => workflowCheck(config)),
      await tried("budget", () => budgetCheck(config)),
    ];
    c.header("cache-control", "no-store");
    return c.json({ object: "doctor", now_ms: nowMs, checks });
  });
}

function upstreamCheck(listing: ModelListing): DoctorCheck {
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
    case "key_rejected":
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

function modelCheck(listing: ModelListing, config: Config, nowMs: number): DoctorCheck {
  const name = "model";
  const { defaultModel, upstream } = config;
  const model = servedModel(config, defaultModel);
  if (model === undefined) throw new Error("the configuration serves its default");
  const withdrawal = withdrawalAt(model, upstream, nowMs);
  if (withdrawal !== undefined) {
    const detail = `${defaultModel}, by default: ${shutdownOf(withdrawal, nowMs)}, so a request that names no model is an error`;
    return { name, ok: false, detail, cure: `Set DEFAULT_MODEL = "${withdrawal.successor}".` };
  }
  const id = successorAt(model, upstream, nowMs) ?? model.upstreamId;
  if (listing.kind === "listed" && !listing.ids.includes(id)) {
    const cure = `Set DEFAULT_MODEL, or MODEL_ALIASES = "${defaultModel}=…" to a model that it has.`;
    return { name, ok: false, detail: `the upstream does not list ${id}`, cure };
  }
  const isListed = listing.kind === "listed" ? "the upstream has it" : "the upstream was not asked";
  const replacement = replacementOf(model, upstream);
  if (replacement !== undefined) {
    const { successor } = replacement;
    const detail = `${defaultModel}, by default: ${shutdownOf(replacement, nowMs)}, and from that day on ${successor} is sent in its place (${id}: ${isListed})`;
    const cure = `Nothing fails. Set DEFAULT_MODEL = "${successor}" when your clients are ready for its parameters and prices.`;
    return { name, ok: true, warning: true, detail, cure };
  }
  const retirement = model.isAlias ? undefined : retirementOf(id);
  const retired = retirement === undefined ? "" : `; ${shutdownOf(retirement, nowMs)}`;
  const detail = `${id}, by default: ${isListed}${retired}`;
  if (retirement === undefined || !upstream.isOpenAi) return { name, ok: true, detail };
  const cure = `Remove RETIRED_MODELS = "keep", or set DEFAULT_MODEL = "${retirement.successor}".`;
  return { name, ...retiring(isShutDown(retirement, nowMs)), detail, cure };
}

/** Looks for aliases of models that OpenAI shuts down: an alias is never replaced. */
function aliasesCheck({ models, upstream }: Config, nowMs: number): DoctorCheck {
  const name = "aliases";
  const aliases = [...models.values()]
    .filter(({ isAlias }) => isAlias)
    .map(({ id, upstreamId }) => ({ id, upstreamId, retirement: retirementOf(upstreamId) }));
  const affected = aliases.flatMap(({ retirement, ...alias }) =>
    retirement === undefined || !upstream.isOpenAi ? [] : [{ ...alias, retirement }],
  );
  if (affected.length === 0) {
    return { name, ok: true, detail: "none is sent as a model that OpenAI shuts down" };
  }
  const details = affected.map(
    ({ id, upstreamId, retirement }) =>
      `${id} is sent as ${upstreamId}: ${shutdownOf(retirement, nowMs)}`,
  );
  const isFailing = affected.some(({ retirement }) => isShutDown(retirement, nowMs));
  const pairs = aliases.map(
    ({ id, upstreamId, retirement }) => `${id}=${retirement?.successor ?? upstreamId}`,
  );
  const cure = `Set MODEL_ALIASES = "${pairs.join(",")}".`;
  return { name, ...retiring(isFailing), detail: details.join("; "), cure };
}

/** Returns a warning before a shutdown, and a failure from then on. */
function retiring(isFailing: boolean): Pick<DoctorCheck, "ok" | "warning"> {
  return isFailing ? { ok: false } : { ok: true, warning: true };
}

function shutdownOf(retirement: Retirement, nowMs: number): string {
  const verb = isShutDown(retirement, nowMs) ? "shut" : "shuts";
  return `OpenAI ${verb} it down on ${retirement.shutdown}`;
}

async function kvCheck({ cache }: Config): Promise<string> {
  const key = `doctor/${crypto.randomUUID()}`;
  await cache.put(key, key, { expirationTtl: 60 });
  if ((await cache.get(key)) !== key) throw new Unwell("it has not what was written");
  await cache.delete(key);
  return "written and read";
}

async function objectCheck(config: Config): Promise<string> {
  await lookupInObject(config, "doctor", 0);
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
