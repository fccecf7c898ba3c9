import { learnedTokens, spentToday } from "../access/accounts.ts";
import type { Config } from "../config/environment.ts";
import type { DiagnosticCheck, Diagnostics, LearnedTokensView } from "../contract/diagnostics.ts";
import { MICRO_PER_DOLLAR, type MicroDollars } from "../contract/pricing.ts";
import { parseTokenRow } from "../contract/token-row.ts";
import { lookupInObject } from "../generation/client.ts";
import { within } from "../lib/within.ts";
import { listUpstreamModels, type ModelListing } from "../upstream/models.ts";
import { aliasesCheck, modelCheck } from "./model-checks.ts";

/** Checks each part of the gateway. This generates nothing and costs nothing. */
export async function diagnose(config: Config): Promise<Diagnostics> {
  const listing = await listUpstreamModels(config.upstream);
  const nowMs = Date.now();
  const checks = [
    upstreamCheck(listing),
    modelCheck(listing, config, nowMs),
    aliasesCheck(config, nowMs),
    await runCheck("kv", () => checkKv(config)),
    await runCheck("object", () => checkObject(config)),
    await runCheck("workflow", () => checkWorkflow(config)),
    await runCheck("budget", () => checkBudget(config)),
  ];
  const learned_tokens = await learnedTokensView(config);
  return { object: "doctor", now_ms: nowMs, checks, learned_tokens };
}

/** Returns the learned tokens; none if the account is unreachable, which the check of the budget reports. */
async function learnedTokensView(config: Config): Promise<LearnedTokensView[]> {
  const rows = await learnedTokens(config).catch(() => []);
  return rows.map(({ row, tokens, day }) => {
    const learned = { output_tokens: tokens, day };
    return Object.assign(learned, parseTokenRow(row));
  });
}

function upstreamCheck(listing: ModelListing): DiagnosticCheck {
  const name = "upstream";
  switch (listing.kind) {
    case "listed":
      return { name, ok: true, detail: "the upstream accepted the key" };
    case "unlisted":
      return {
        name,
        // Many servers have no list of models. A redirect or a server error would fail a generation too.
        ok: listing.status < 300 || listing.status === 404 || listing.status === 405,
        detail: `the upstream responded to GET /models with ${listing.status} and no list, so the key is not verified`,
        cure: "Check UPSTREAM_BASE_URL. For most servers it ends in /v1.",
      };
    case "key_rejected":
      return {
        name,
        ok: false,
        detail: `the upstream rejected the key (${listing.status})`,
        cure: "npx wrangler secret put UPSTREAM_API_KEY",
      };
    case "no_key":
      return {
        name,
        ok: false,
        detail: "UPSTREAM_API_KEY is not set",
        cure: "npx wrangler secret put UPSTREAM_API_KEY, or a line in .dev.vars",
      };
    case "unreachable":
      return {
        name,
        ok: false,
        detail: "the upstream is unreachable",
        cure: "Check UPSTREAM_BASE_URL.",
      };
  }
}

type RunCheckName = "kv" | "object" | "workflow" | "budget";

const FIXES: Record<RunCheckName, string> = {
  kv: "Check the binding CACHE. On the free plan, check whether the day's 1,000 writes are used up.",
  object: "Check the binding GENERATION and the migrations in wrangler.toml, then deploy again.",
  workflow: "Check [[workflows]] in wrangler.toml, then deploy again.",
  budget: "Raise BUDGET_USD_PER_DAY, or wait until 00:00 UTC.",
};

/** A failed check, with a message that may be shown. */
class FailedCheck extends Error {
  override readonly name = "FailedCheck";
}

/** The time that one check may take. */
const CHECK_MS = 15_000;

async function runCheck(
  name: RunCheckName,
  check: () => Promise<string>,
): Promise<DiagnosticCheck> {
  try {
    return { name, ok: true, detail: await within(CHECK_MS, check()) };
  } catch (error) {
    // Other errors may quote stored data or secrets, so their messages are not shown.
    const detail = error instanceof FailedCheck ? error.message : "the call failed";
    return { name, ok: false, detail, cure: FIXES[name] };
  }
}

async function checkKv({ cache }: Config): Promise<string> {
  const key = `doctor/${crypto.randomUUID()}`;
  await cache.put(key, key, { expirationTtl: 60 });
  if ((await cache.get(key)) !== key) throw new FailedCheck("KV did not return the stored value");
  await cache.delete(key);
  return "stored and read a value";
}

async function checkObject(config: Config): Promise<string> {
  await lookupInObject(config, "doctor", { maxAgeSeconds: 0, orInProgress: false });
  return "the Durable Object responded";
}

/** Requests an instance that does not exist. The platform's error for it proves that it responds. */
async function checkWorkflow({ imageJobs }: Config): Promise<string> {
  try {
    await imageJobs.get("doctor");
  } catch (error) {
    if (!(error instanceof Error) || !error.message.includes("not_found")) throw error;
  }
  return "the Workflow responded";
}

async function checkBudget(config: Config): Promise<string> {
  const { budgetPerDay } = config;
  const left = budgetPerDay - (await spentToday(config));
  if (left <= 0) throw new FailedCheck("today's budget is spent");
  return `${dollars(left)} of today's ${dollars(budgetPerDay)} left`;
}

function dollars(micro: MicroDollars): string {
  return `$${(micro / MICRO_PER_DOLLAR).toFixed(2)}`;
}
