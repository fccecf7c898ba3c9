import { setTimeout as sleep } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import { ADMIN_KEY, WEBHOOK_SIGNING_SECRET } from "../support/gateway.ts";
import { hookAt, type Received } from "../support/webhooks/hook.ts";
import { deletedAnytime, lostAlarm, refused, replacedDuringCopy } from "./corners.ts";
import { FAULTS, STREAM_FAULTS } from "./faults.ts";
import { isUncertain, requestOf, type Account } from "./journal.ts";
import { anyFault, anyForm, anyModel, callOf, type Scenario, type Stage } from "./stage.ts";
import { jsonOf, type Traffic } from "./traffic.ts";

const ADMIN = { authorization: `Bearer ${ADMIN_KEY}` };

/** Requests images twice, each time in another form. */
async function twice({ name, traffic, random }: Stage): Promise<Account> {
  const account = await traffic.account(name, anyModel(random));
  const prompt = traffic.prompt(account, random, anyFault(random));
  await traffic.obtain(prompt, anyForm(prompt, random));
  await traffic.obtain(prompt, anyForm(prompt, random));
  return account;
}

/** Causes a fault of the upstream, then repeats the request. */
async function fault({ name, traffic, random }: Stage): Promise<Account> {
  const isStream = random.chance(0.2);
  const account = await traffic.account(name, isStream ? "gpt-image-1.5" : "dall-e-2");
  const kind = random.pick(isStream ? STREAM_FAULTS : FAULTS);
  const prompt = traffic.prompt(account, random, kind);
  const form = () => (isStream ? "stream" : anyForm(prompt, random));
  const first = await traffic.obtain(prompt, form());
  const second = await traffic.obtain(prompt, form());
  if (traffic.isDisturbed(account.startedMs)) return account;
  const expected = kind.code === undefined ? "images" : "error";
  if (first.kind !== expected) traffic.report(`${first.kind} instead of ${expected}`, prompt);
  const then = kind.recovers ? "images" : "error";
  if (second.kind !== then)
    traffic.report(`${second.kind} instead of ${then} for the repeated request`, prompt);
  return account;
}

/** Sends the same request several times at once. */
async function duplicates({ name, traffic, random }: Stage): Promise<Account> {
  const account = await traffic.account(name, anyModel(random));
  const prompt = traffic.prompt(account, random, anyFault(random));
  const forms = Array.from({ length: random.integer(3, 6) }, () => anyForm(prompt, random));
  const results = await Promise.all(forms.map((form) => traffic.obtain(prompt, form)));
  if (traffic.isDisturbed(account.startedMs)) return account;
  const first = callOf(results[0]);
  if (results.some((result) => callOf(result) !== first)) {
    traffic.report("duplicates with different images", prompt);
  }
  return account;
}

/** Disconnects during a request, then repeats it. */
async function disconnect({ name, traffic, random }: Stage): Promise<Account> {
  const account = await traffic.account(name, anyModel(random));
  const prompt = traffic.prompt(account, random, { directives: "delay=600", recovers: true });
  const options = traffic.optionsOf(prompt, anyForm(prompt, random));
  const disconnectAfterMs = random.integer(20, 900);
  await traffic.sendOnce("disconnect", "/v1/images/generations", { ...options, disconnectAfterMs });
  await sleep(random.integer(0, 1500));
  await traffic.obtain(prompt, anyForm(prompt, random));
  return account;
}

/** Repeats a request under its Idempotency-Key, then sends another request under it. */
async function idempotent({ name, traffic, random }: Stage): Promise<Account> {
  const account = await traffic.account(name, "dall-e-2");
  const prompt = traffic.prompt(account, random, anyFault(random));
  const headers = {
    "idempotency-key": `key of ${account.name}`,
    ...(random.chance(0.5) ? { "cache-control": "no-cache" } : {}),
  };
  const first = await traffic.obtain(prompt, anyForm(prompt, random), headers);
  const second = await traffic.obtain(prompt, anyForm(prompt, random), headers);
  if (first.kind === "images" && callOf(first) !== callOf(second)) {
    traffic.report("another generation under the same Idempotency-Key", prompt);
  }
  const call = callOf(second);
  if (second.kind === "images" && second.id !== undefined && call !== undefined) {
    traffic.keyed.push({ prompt, headers, id: second.id, call });
  }
  const other = { ...prompt, text: `${prompt.text} but another` };
  traffic.expectError(
    await traffic.post(other, "url", headers),
    422,
    "idempotency_key_reused",
    "another request under an Idempotency-Key",
  );
  return account;
}

/** Regenerates images with `no-cache`, then requests the newest. */
async function regenerated({ name, traffic, random }: Stage): Promise<Account> {
  const account = await traffic.account(name, anyModel(random));
  const prompt = traffic.prompt(account, random, anyFault(random));
  const first = await traffic.obtain(prompt, anyForm(prompt, random));
  // A client whose connection a kill broke repeats its request. Each repetition may generate an image.
  prompt.permits += 1;
  const sentMs = Date.now();
  const fresh = await traffic.obtain(prompt, anyForm(prompt, random), {
    "cache-control": "no-cache",
  });
  prompt.permits += traffic.gateway.killsWithin(sentMs, Date.now()).length;
  if (first.kind === "images" && callOf(first) === callOf(fresh)) {
    traffic.report("no-cache returned the old images", prompt);
  }
  await sleep(500);
  const newest = await traffic.obtain(prompt, anyForm(prompt, random));
  // A write to KV that is delayed or retried may still have to replace the old record.
  const isDelayed = traffic.isDisturbed(account.startedMs) || traffic.isFaulty(account.startedMs);
  if (!isDelayed && callOf(newest) !== callOf(fresh)) {
    traffic.report("not the newest images after no-cache", prompt);
  }
  return account;
}

/** Requests images with `no-store`. */
async function noStore({ name, traffic, random }: Stage): Promise<Account> {
  const account = await traffic.account(name, "dall-e-2");
  const prompt = traffic.prompt(account, random, anyFault(random), false);
  const sentMs = Date.now();
  for (const times of [1, 2]) {
    prompt.permits = times - 1;
    await traffic.obtain(prompt, anyForm(prompt, random), { "cache-control": "no-store" });
  }
  prompt.permits += traffic.gateway.killsWithin(sentMs, Date.now()).length;
  return account;
}

/** Requests images with `only-if-cached` and with `max-age`. */
async function conditional({ name, traffic, random }: Stage): Promise<Account> {
  const account = await traffic.account(name, "dall-e-2");
  const prompt = traffic.prompt(account, random, anyFault(random));
  const cached = { "cache-control": "only-if-cached" };
  traffic.expectError(
    await traffic.post(prompt, "url", cached),
    504,
    "not_cached",
    `only-if-cached before the first generation: ${prompt.text}`,
  );
  const first = await traffic.obtain(prompt, anyForm(prompt, random));
  const allowed = { codes: traffic.isDisturbed(account.startedMs) ? ["not_cached"] : [] };
  await traffic.obtain(prompt, anyForm(prompt, random), cached, allowed);
  await sleep(3100);
  prompt.permits += 1;
  const maxAge = { "cache-control": "max-age=1" };
  const second = await traffic.obtain(prompt, anyForm(prompt, random), maxAge);
  if (first.kind === "images" && callOf(first) === callOf(second)) {
    traffic.report("images older than max-age", prompt);
  }
  return account;
}

/** Deletes a generation whose copy to KV has ended, then repeats its request. */
async function deleted({ name, traffic, random }: Stage): Promise<Account> {
  const account = await traffic.account(name, "dall-e-2");
  const prompt = traffic.prompt(account, random, anyFault(random));
  const first = await traffic.obtain(prompt, "url");
  if (first.kind !== "images" || first.id === undefined) return account;
  await sleep(2000);
  await traffic.remove(first.id, prompt, first.calls);
  // A copy to KV that is still in progress may return for up to 90 s.
  const isDelayed = () =>
    traffic.isDisturbed(account.startedMs) || traffic.isFaulty(account.startedMs);
  const path = `/v1/images/generations/${first.id}`;
  const headers = { authorization: `Bearer ${account.token}` };
  const lookup = await traffic.send("poll", path, { headers });
  if (lookup.status !== 404 && !isDelayed()) {
    traffic.report(`${path}: status ${lookup.status} after DELETE`);
  }
  prompt.permits += 1;
  const second = await traffic.obtain(prompt, anyForm(prompt, random));
  if (callOf(first) === callOf(second) && !isDelayed()) {
    traffic.report("deleted images were returned", prompt);
  }
  return account;
}

const BAD_BODIES: readonly [BadBody, ...BadBody[]] = [
  { body: "{", status: 400, code: "invalid_json" },
  { body: "[]", status: 400, code: "invalid_json" },
  { body: {}, status: 400, code: "missing_required_parameter" },
  { body: { prompt: "" }, status: 400, code: "empty_string" },
  { body: { prompt: 1 }, status: 400, code: "invalid_type" },
  { body: { prompt: "a", n: 0 }, status: 400, code: "integer_below_min_value" },
  { body: { prompt: "a", n: 11 }, status: 400, code: "integer_above_max_value" },
  { body: { prompt: "a", size: "1x1" }, status: 400, code: "invalid_value" },
  { body: { prompt: "a", model: "none" }, status: 400, code: "invalid_value" },
  { body: { prompt: "a", colour: "red" }, status: 400, code: "unknown_parameter" },
  { body: { prompt: "a".repeat(1001) }, status: 400, code: "string_above_max_length" },
  { body: { prompt: "a", stream: true, n: 2 }, status: 400, code: "unsupported_parameter" },
  { body: { prompt: "a".repeat(70_000) }, status: 413, code: "request_too_large" },
];

interface BadBody {
  body: unknown;
  status: number;
  code: string;
}

/** Sends invalid requests, and requests without a valid token or enough budget. */
async function invalid({ name, traffic, random }: Stage): Promise<Account> {
  const account = await traffic.account(name, "dall-e-2", { max_n: 2 });
  const path = "/v1/images/generations";
  const authorization = `Bearer ${account.token}`;
  for (let left = 3; left > 0; left -= 1) {
    const { body, status, code } = random.pick(BAD_BODIES);
    const reply = await traffic.send("bad input", path, { body, headers: { authorization } });
    traffic.expectError(reply, status, code, `bad input ${JSON.stringify(body).slice(0, 60)}`);
  }
  const body = { prompt: "rejected before a generation", model: "dall-e-2", n: 3 };
  const above = await traffic.send("bad input", path, { body, headers: { authorization } });
  traffic.expectError(above, 400, "integer_above_max_value", "more images than the token allows");
  const without = await traffic.send("no token", path, { body });
  traffic.expectError(without, 401, "missing_token", "a request without a token");
  const forged = `${authorization.slice(0, -8)}AAAAAAAA`;
  const wrong = await traffic.send("no token", path, { body, headers: { authorization: forged } });
  traffic.expectError(wrong, 401, "invalid_token", "a request with a forged token");
  const withoutBudget = await traffic.account(name, "dall-e-2", { budget_usd: 0.001 });
  const aboveBudget = {
    body: { ...body, n: 1 },
    headers: { authorization: `Bearer ${withoutBudget.token}` },
  };
  const rejected = await traffic.send("no budget", path, aboveBudget);
  traffic.expectError(rejected, 429, "budget_exceeded", "a request above the token's budget");
  withoutBudget.endedMs = Date.now();
  const sub = `/v1/tokens?sub=${account.name}`;
  await traffic.send("token", sub, { method: "DELETE", headers: ADMIN });
  // The gateway may accept a revoked token for one second.
  await sleep(1500);
  const revoked = await traffic.send("no token", path, { body, headers: { authorization } });
  traffic.expectError(revoked, 401, "invalid_token", "a request with a revoked token");
  return account;
}

const EVENT_WITHIN_MS = 60_000;

/** Submits a job with a webhook twice under the same key, and follows it to its delivery. */
async function job({ name, traffic, random, receiver }: Stage): Promise<Account> {
  const account = await traffic.account(name, "dall-e-2");
  const prompt = traffic.prompt(account, random, anyFault(random));
  const hook = hookAt(receiver, random.pick(["200", "200", "503,200", "cut,200"]));
  const headers = {
    authorization: `Bearer ${account.token}`,
    prefer: "respond-async",
    "idempotency-key": `job of ${account.name}`,
  };
  const body = { ...requestOf(prompt), webhook_url: hook.url };
  const submit = () => traffic.send("job", "/v1/images/generations", { body, headers });
  const reply = await submit();
  const { job: id } = jsonOf(reply);
  if (reply.status !== 202 || typeof id !== "string") {
    traffic.report(`job: status ${reply.status} ${reply.body.toString().slice(0, 200)}`);
    return account;
  }
  await follow(traffic, [id], account, async () => {
    const result = await traffic.poll(prompt, `/v1/images/generations/${id}`);
    const event = await deliveredEvent(traffic, hook, account, prompt.text);
    const isCompleted = event?.type === "image.generation.completed";
    if (event !== undefined && isCompleted !== (result.kind === "images")) {
      traffic.report(`event ${event.type} for ${result.kind}`, prompt);
    }
  });
  // The same submission returns the same job.
  const same = jsonOf(await submit())["job"];
  if (same !== id) traffic.report(`job ${String(same)} instead of ${id}`, prompt);
  return account;
}

/** Submits a batch with a webhook, and polls each of its results. */
async function batch({ name, traffic, random, receiver }: Stage): Promise<Account> {
  const account = await traffic.account(name, "dall-e-2", { width: 3 });
  const prompts = [0, 1, 2].map(() => traffic.prompt(account, random, anyFault(random)));
  const hook = hookAt(receiver);
  const headers = {
    authorization: `Bearer ${account.token}`,
    "idempotency-key": `batch of ${account.name}`,
  };
  const body = {
    requests: prompts.map((prompt, index) => ({
      custom_id: String(index),
      body: requestOf(prompt),
    })),
    webhook_url: hook.url,
  };
  const reply = await traffic.send("batch", "/v1/images/batches", { body, headers });
  const submitted = jsonOf(reply) as unknown as BatchView;
  if (reply.status !== 202) {
    traffic.report(`batch: status ${reply.status} ${reply.body.toString().slice(0, 200)}`);
    return account;
  }
  const jobs = submitted.results.map((result) => result.job);
  await follow(traffic, jobs, account, async () => {
    const view = await completedBatch(traffic, submitted.id, account);
    for (const [index, prompt] of prompts.entries()) {
      const result = view.results[index];
      if (result === undefined) traffic.report("no result", prompt);
      else await traffic.poll(prompt, `/v1/images/generations/${result.job}`);
    }
    const event = await deliveredEvent(traffic, hook, account, submitted.id);
    if (event !== undefined && event.type !== "batch.completed") {
      traffic.report(`event ${event.type} for the batch ${submitted.id}`);
    }
  });
  return account;
}

interface BatchView {
  id: string;
  status: string;
  results: { job: string }[];
}

async function completedBatch(
  traffic: Traffic,
  id: string,
  { token }: Account,
): Promise<BatchView> {
  const headers = { authorization: `Bearer ${token}` };
  for (const untilMs = Date.now() + EVENT_WITHIN_MS; ;) {
    const reply = await traffic.send("poll", `/v1/images/batches/${id}`, { headers });
    const view = jsonOf(reply) as unknown as BatchView;
    if (reply.status !== 200) throw new Error(`batch ${id}: status ${reply.status}`);
    if (view.status === "completed") return view;
    if (Date.now() > untilMs) throw new Error(`batch ${id} did not complete`);
    await sleep(300);
  }
}

/** Runs `work` while jobs are in progress. After a kill, their Workflows are run again. */
async function follow(
  traffic: Traffic,
  jobs: readonly string[],
  { startedMs }: Account,
  work: () => Promise<void>,
): Promise<void> {
  for (const id of jobs) traffic.openJobs.add(id);
  try {
    // A kill before this client received the ids of the jobs may have stopped their Workflows.
    if (traffic.isDisturbed(startedMs)) {
      for (const id of jobs) await traffic.resumeJob(id);
    }
    await work();
  } finally {
    for (const id of jobs) traffic.openJobs.delete(id);
  }
}

/** Waits for the event of a job or a batch, and checks its signature and its repeated deliveries. */
async function deliveredEvent(
  traffic: Traffic,
  hook: { url: string; received(): Promise<Received[]> },
  { startedMs }: Account,
  about: string,
): Promise<{ type: string } | undefined> {
  // The last step of the receiver's plan is the one that accepts.
  const needed = hook.url.split("/").at(-1)?.split(",").length ?? 1;
  for (const untilMs = Date.now() + EVENT_WITHIN_MS; ;) {
    const received = await hook.received();
    const last = received.at(-1);
    if (received.length >= needed && last !== undefined) {
      if (new Set(received.map(({ body }) => body)).size > 1) {
        traffic.report(`deliveries with different bodies: ${about}`);
      }
      if (received.length > needed && !traffic.isDisturbed(startedMs)) {
        traffic.report(`${received.length} deliveries instead of ${needed}: ${about}`);
      }
      return new Webhook(WEBHOOK_SIGNING_SECRET).verify(last.body, last.headers) as {
        type: string;
      };
    }
    if (Date.now() > untilMs) {
      traffic.report(`${received.length} of ${needed} deliveries: ${about}`);
      return undefined;
    }
    await sleep(200);
  }
}

/** Requests the images of an earlier scenario. */
async function revisit({ traffic, random }: Stage): Promise<Account> {
  const { journal, gateway } = traffic;
  const known = [...journal.prompts.values()].filter(
    (prompt) =>
      prompt.isStored &&
      prompt.account.endedMs !== undefined &&
      journal
        .calls(prompt)
        .some((call) => call.deliveredMs !== undefined && !isUncertain(call, gateway.kills)),
  );
  const [first, ...rest] = known;
  if (first === undefined) return twice({ name: "twice", traffic, random, receiver: "" });
  const prompt = random.pick([first, ...rest]);
  await traffic.obtain(prompt, anyForm(prompt, random), { "cache-control": "only-if-cached" });
  return prompt.account;
}

const SCENARIOS: readonly [weight: number, name: string, scenario: Scenario][] = [
  [5, "twice", twice],
  [6, "fault", fault],
  [3, "duplicates", duplicates],
  [3, "disconnect", disconnect],
  [2, "idempotent", idempotent],
  [2, "regenerated", regenerated],
  [1, "no-store", noStore],
  [1, "conditional", conditional],
  [1, "deleted", deleted],
  [4, "deleted-anytime", deletedAnytime],
  [3, "replaced", replacedDuringCopy],
  [2, "refused", refused],
  [2, "lost-alarm", lostAlarm],
  [1, "invalid", invalid],
  [2, "job", job],
  [1, "batch", batch],
  [6, "revisit", revisit],
];

const ALL = SCENARIOS.flatMap(([weight, name, scenario]) =>
  Array.from({ length: weight }, () => ({ name, scenario })),
);

/** Runs one scenario, chosen at random. A scenario that throws is a finding. */
export async function runScenario(stage: Omit<Stage, "name">, mayCreate: boolean): Promise<void> {
  const { traffic, random } = stage;
  const chosen = ALL[random.integer(0, ALL.length - 1)];
  const { name, scenario } =
    mayCreate && chosen !== undefined ? chosen : { name: "revisit", scenario: revisit };
  try {
    const account = await scenario({ ...stage, name });
    account.endedMs ??= Date.now();
  } catch (error) {
    traffic.report(`the scenario "${name}" failed: ${String(error)}`);
  }
}
