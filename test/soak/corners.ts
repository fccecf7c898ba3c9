import { setTimeout as sleep } from "node:timers/promises";
import type { Account, Prompt } from "./journal.ts";
import { anyFault, anyForm, anyModel, type Stage } from "./stage.ts";
import { jsonOf, type Traffic } from "./traffic.ts";
import { LOSES_ALARM } from "./worker.ts";

/* Scenarios that meet a generation at its narrow moments: while it starts, and while it is copied to KV. */

const REMOVED_WITHIN_MS = 60_000;

/** Deletes a generation at a random moment: while it is in progress, during its copy to KV, or later. */
export async function deletedAnytime({ name, traffic, random }: Stage): Promise<Account> {
  const account = await traffic.account(name, anyModel(random));
  const prompt = traffic.prompt(account, random, anyFault(random));
  const id = await submitted(traffic, prompt);
  if (id === undefined) return account;
  await sleep(random.integer(0, 2500));
  for (const untilMs = Date.now() + REMOVED_WITHIN_MS; ;) {
    if (await traffic.remove(id, prompt)) break;
    if (Date.now() > untilMs) throw new Error(`${id} is still in progress: ${prompt.text}`);
    await sleep(random.integer(0, 600));
  }
  prompt.permits += 1;
  if (random.chance(0.5)) await traffic.obtain(prompt, anyForm(prompt, random));
  return account;
}

/** Requests images without waiting for them. Returns the id of their generation. */
async function submitted(traffic: Traffic, prompt: Prompt): Promise<string | undefined> {
  const reply = await traffic.post(prompt, "async");
  const { id } = jsonOf(reply);
  if (![200, 202].includes(reply.status) || typeof id !== "string") {
    await traffic.read(prompt, reply, {});
    return undefined;
  }
  return id;
}

const DISPATCHED_WITHIN_MS = 20_000;

/** Starts a generation whose alarm is lost. A request that joins it, a poll or a DELETE must set the alarm again. */
export async function lostAlarm({ name, traffic, random }: Stage): Promise<Account> {
  const account = await traffic.account(name, "dall-e-2");
  const prompt = traffic.prompt(account, random, { directives: LOSES_ALARM, recovers: true });
  const id = await submitted(traffic, prompt);
  if (id === undefined) return account;
  const path = `/v1/images/generations/${id}`;
  switch (random.pick(["join", "poll", "delete"])) {
    case "join":
      await traffic.obtain(prompt, anyForm(prompt, random));
      return account;
    case "poll":
      await traffic.poll(prompt, path);
      return account;
    case "delete":
      break;
  }
  const isDeleted = await traffic.remove(id, prompt);
  if (isDeleted) prompt.permits += 1;
  else await dispatched(prompt, account, traffic);
  await traffic.obtain(prompt, anyForm(prompt, random));
  return account;
}

/** Waits until the upstream is called. Reports that it is not, unless a kill or a fault may explain it. */
async function dispatched(prompt: Prompt, account: Account, traffic: Traffic): Promise<void> {
  for (const untilMs = Date.now() + DISPATCHED_WITHIN_MS; Date.now() < untilMs;) {
    if (traffic.journal.calls(prompt).length > 0 || traffic.isDisturbed(account.startedMs)) return;
    await sleep(100);
  }
  traffic.report("a generation without an alarm does not start after a DELETE", prompt);
}

const REPLACING = ["no-cache", "max-age=0"] as const;

/** Replaces images several times, while earlier ones are copied to KV. The end of the soak shows which remain. */
export async function replacedDuringCopy({ name, traffic, random }: Stage): Promise<Account> {
  const account = await traffic.account(name, "dall-e-2", { width: 3 });
  const prompt = traffic.prompt(account, random, anyFault(random));
  const first = await traffic.obtain(prompt, "url");
  const replacements = Array.from({ length: random.integer(1, 3) }, () => ({
    afterMs: random.integer(0, 1500),
    directive: random.pick(REPLACING),
  }));
  const sentMs = Date.now();
  await Promise.all(
    replacements.map(async ({ afterMs, directive }) => {
      await sleep(afterMs);
      prompt.permits += 1;
      await traffic.obtain(prompt, anyForm(prompt, random), { "cache-control": directive });
    }),
  );
  // A client whose connection a kill broke repeats its request. Each repetition may generate an image.
  prompt.permits += traffic.gateway.killsWithin(sentMs, Date.now()).length * replacements.length;
  const isRemoved = first.kind === "images" && random.chance(0.3);
  if (!isRemoved || first.id === undefined) return account;
  await traffic.remove(first.id, prompt, first.calls);
  return account;
}

/** Starts two generations at once of which one must be refused: by its budget, or by its Idempotency-Key. */
export async function refused({ name, traffic, random }: Stage): Promise<Account> {
  const isByBudget = random.chance(0.5);
  // One and a half images.
  const limits = isByBudget ? { budget_usd: 0.024 } : {};
  const account = await traffic.account(name, "dall-e-2", { width: 2, ...limits });
  const headers: Record<string, string> = isByBudget
    ? {}
    : { "idempotency-key": `one of two of ${account.name}` };
  const codes = isByBudget
    ? ["budget_exceeded", "rate_limit_exceeded"]
    : ["idempotency_key_reused", "idempotency_key_busy"];
  const prompts = [0, 1].map(() => {
    const prompt = traffic.prompt(account, random, { directives: "delay=300", recovers: true });
    prompt.n = 1;
    return prompt;
  });
  const results = await Promise.all(
    prompts.map((prompt) => traffic.obtain(prompt, anyForm(prompt, random), headers, { codes })),
  );
  const isStrict = !traffic.isDisturbed(account.startedMs) && !traffic.mayFail(account.startedMs);
  const started = results.filter(({ kind }) => kind === "images").length;
  if (isStrict && started !== 1) {
    traffic.report(`${started} of two generations started instead of one`, prompts[0]);
  }
  if (isByBudget) return account;
  // Without the key, nothing is left that refuses them.
  for (const prompt of prompts) await traffic.obtain(prompt, anyForm(prompt, random));
  return account;
}
