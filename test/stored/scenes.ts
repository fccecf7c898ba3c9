import { VARS } from "../support/vars.ts";
import { GENERATIONS, type Stage } from "./stage.ts";

const BATCHES = "/v1/images/batches";
const ASYNC = { prefer: "respond-async" };
const ADMIN = { authorization: `Bearer ${VARS.ADMIN_KEY}` };
const TOKEN_SECRET = "a-secret-of-the-tests-for-access-tokens";

/** Returns a body for a small image, with a prompt that no other scene has. */
function bodyOf(prompt: string, directives = "") {
  return {
    model: "gpt-image-2",
    prompt: `${prompt} ${crypto.randomUUID().slice(0, 8)} ${directives}`.trim(),
    size: "1024x640",
    quality: "low",
    output_format: "webp",
    output_compression: 1,
    response_format: "url",
  };
}

/** Returns headers with a new Idempotency-Key. */
function keyed(headers: Record<string, string> = {}) {
  return { ...headers, "idempotency-key": crypto.randomUUID() };
}

function pathOf({ id }: { id: string }): string {
  return `${GENERATIONS}/${id}`;
}

/** Scenes that together store every kind of data, in each of its states. */
export const SCENES: Record<string, (stage: Stage) => Promise<void>> = {
  async "generation-queued"(stage) {
    stage.holdAlarms();
    const queued = await stage.generate("request", bodyOf("A red kite"), ASYNC);
    await stage.exchange("poll", pathOf(queued));
  },

  async "generation-dispatched"(stage) {
    const body = bodyOf("A lighthouse", "[upstream delay=10000]");
    const started = await stage.generate("request", body, ASYNC);
    await stage.until(pathOf(started), ({ status }) => status === "in_progress");
    await stage.exchange("poll", pathOf(started));
  },

  async "generation-partial"(stage) {
    const body = { ...bodyOf("A meadow", "[upstream gap=1500]"), response_format: "b64_json" };
    await stage.stream({ ...body, stream: true, partial_images: 2 });
    const joined = await stage.generate("request", body, ASYNC);
    await stage.exchange("poll", pathOf(joined));
  },

  async "generation-completed"(stage) {
    const body = { ...bodyOf("Two boats"), n: 2 };
    const generated = await stage.generate("request", body);
    await stage.until(pathOf(generated), ({ http }) => http === 200);
    await stage.generate("hit", body);
    await stage.until("/v1/usage", ({ days }) => days.some(({ hits }) => hits === 1), ADMIN);
    await stage.exchange("poll", pathOf(generated));
    for (const [index, { url }] of (generated.data ?? []).entries())
      await stage.exchange(`file ${index}`, url);
    await stage.exchange("usage", "/v1/usage", { headers: ADMIN });
  },

  async "generation-not-copied"(stage) {
    const failed = stage.failKv();
    const generated = await stage.generate("request", bodyOf("A bridge"));
    await failed();
    await stage.exchange("poll", pathOf(generated));
    for (const [index, { url }] of (generated.data ?? []).entries())
      await stage.exchange(`file ${index}`, url);
  },

  async "generation-not-settled"(stage) {
    const body = bodyOf("A windmill", "[upstream delay=300]");
    const started = await stage.generate("request", body, ASYNC);
    const failed = stage.failObjects("BUDGET");
    await failed();
    await stage.exchange("poll", pathOf(started));
  },

  async "generation-private"(stage) {
    const headers = { "cache-control": "no-store" };
    const generated = await stage.generate("request", bodyOf("A closed door"), headers);
    await stage.exchange("poll", pathOf(generated));
    for (const [index, { url }] of (generated.data ?? []).entries())
      await stage.exchange(`file ${index}`, url);
  },

  async "generation-failed"(stage) {
    const directives = {
      moderated: "[upstream status=400 code=moderation_blocked]",
      rejected: "[upstream status=400]",
      unauthorized: "[upstream status=401]",
      cut: "[upstream reset=body]",
      invalid: "[upstream answer=html]",
    };
    for (const [name, each] of Object.entries(directives)) {
      const body = bodyOf("A storm", each);
      // The second failure does not replace the first: a lookup by id returns each.
      for (const round of name === "rejected" ? ["", " again"] : [""]) {
        const started = await stage.generate(`request ${name}${round}`, body, ASYNC);
        await stage.until(pathOf(started), ({ http }) => http >= 400);
        await stage.exchange(`poll ${name}${round}`, pathOf(started));
      }
    }
    await stage.exchange("usage", "/v1/usage", { headers: ADMIN });
  },

  async "generation-unknown"(stage) {
    const body = bodyOf("A fog", "[upstream delay=10000]");
    const started = await stage.generate("request", body, ASYNC);
    await stage.until(pathOf(started), ({ status }) => status === "in_progress");
    await stage.breakObjects("GENERATION");
    await stage.exchange("poll", pathOf(started));
  },

  async "idempotency-claimed"(stage) {
    const body = bodyOf("A ladder");
    await stage.generate("request", body, keyed({ "cache-control": "only-if-cached" }));
  },

  async "idempotency-bound"(stage) {
    const shared = await stage.generate("request shared", bodyOf("A clock"), keyed());
    await stage.until(pathOf(shared), ({ http }) => http === 200);
    const own = bodyOf("A tower");
    await stage.generate("request own", own, keyed({ "cache-control": "no-cache" }));
  },

  async "token-budget"(stage) {
    stage.vars["TOKEN_SECRET"] = TOKEN_SECRET;
    const body = { sub: "shop", ttl_seconds: 86_400, budget_usd: 0.006 };
    const headers = { ...ADMIN, "content-type": "application/json" };
    const minted = { method: "POST", headers, body };
    const { token } = await stage.exchange("token", "/v1/tokens", minted);
    const authorization = `Bearer ${token}`;
    await stage.generate("request", bodyOf("A shop"), { authorization });
    await stage.until("/v1/usage", ({ days }) => days.some(({ images }) => images === 1), ADMIN);
    // The rest of the token's budget is too small for another image.
    await stage.generate("refused", bodyOf("A second shop"), { authorization });
    await stage.exchange("usage", "/v1/usage", { headers: ADMIN });
  },

  async revocations(stage) {
    stage.vars["ACCESS"] = "token";
    stage.vars["TOKEN_SECRET"] = TOKEN_SECRET;
    const mint = (name: string, sub: string) =>
      stage.exchange(name, "/v1/tokens", {
        method: "POST",
        headers: { ...ADMIN, "content-type": "application/json" },
        body: { sub, ttl_seconds: 86_400 },
      });
    const { jti, token } = await mint("token revoked by jti", "shop");
    const tokens = {
      "revoked by jti": token,
      "revoked by sub": (await mint("token revoked by sub", "press")).token,
      "not revoked": (await mint("token not revoked", "shop")).token,
    };
    const options = { method: "DELETE", headers: ADMIN };
    await stage.exchange("revoke jti", `/v1/tokens/${jti}`, options);
    await stage.exchange("revoke sub", "/v1/tokens?sub=press", options);
    const unknown = pathOf({ id: `gen_${"A".repeat(59)}` });
    for (const [name, token] of Object.entries(tokens)) {
      const headers = { authorization: `Bearer ${token}` };
      await stage.exchange(`use of the token ${name}`, unknown, { headers });
    }
  },

  async "job-accepted"(stage) {
    stage.holdWorkflows();
    const job = await stage.generate(
      "request",
      { ...bodyOf("A well"), ...stage.hook() },
      keyed(ASYNC),
    );
    await stage.exchange("poll", pathOf(job));
  },

  async "job-running"(stage) {
    const body = { ...bodyOf("A mill", "[upstream delay=10000]"), ...stage.hook() };
    const job = await stage.generate("request", body, keyed(ASYNC));
    await stage.until(pathOf(job), ({ status }) => status === "in_progress");
    await stage.exchange("poll", pathOf(job));
  },

  async "job-waiting"(stage) {
    const directives = "[upstream status=429 retry-after=60 times=1]";
    const body = { ...bodyOf("A queue", directives), ...stage.hook() };
    const job = await stage.generate("request", body, keyed(ASYNC));
    await stage.untilPaused();
    await stage.exchange("poll", pathOf(job));
  },

  async "job-delivering"(stage) {
    const body = { ...bodyOf("A letter"), ...stage.hook("503") };
    const job = await stage.generate("request", body, keyed(ASYNC));
    await stage.untilPaused();
    await stage.exchange("poll", pathOf(job));
  },

  async "job-delivered"(stage) {
    const job = await stage.generate(
      "request",
      { ...bodyOf("A parcel"), ...stage.hook() },
      keyed(ASYNC),
    );
    await stage.until(pathOf(job), ({ delivery }) => delivery?.status === "delivered");
    await stage.untilStepsEnd();
    await stage.exchange("poll", pathOf(job));
  },

  async "job-failed"(stage) {
    const directives = "[upstream status=400 code=moderation_blocked]";
    const body = { ...bodyOf("A battle", directives), ...stage.hook() };
    const job = await stage.generate("request", body, keyed(ASYNC));
    await stage.until(pathOf(job), ({ delivery }) => delivery?.status === "delivered");
    await stage.untilStepsEnd();
    await stage.exchange("poll", pathOf(job));
  },

  async "job-given-up"(stage) {
    stage.failFirstStep();
    const body = { ...bodyOf("A ruin"), ...stage.hook("503") };
    const job = await stage.generate("request", body, keyed(ASYNC));
    await stage.untilPaused();
    await stage.exchange("poll", pathOf(job));
  },

  async "job-of-a-webhook"(stage) {
    const job = await stage.webhook("request", bodyOf("A bell"));
    await stage.until(pathOf(job), ({ http }) => http === 200);
    await stage.untilStepsEnd();
    await stage.exchange("poll", pathOf(job));
  },

  async "batch-running"(stage) {
    const bodies = [bodyOf("A first stone"), bodyOf("A last stone", "[upstream delay=10000]")];
    const batch = await submitBatch(stage, bodies, stage.hook());
    const path = `${BATCHES}/${batch.id}`;
    await stage.until(path, (json) => json.request_counts.completed === 1);
    await stage.exchange("poll", path);
  },

  async "batch-delivering"(stage) {
    const moderated = "[upstream status=400 code=moderation_blocked]";
    const bodies = [bodyOf("A white flag"), bodyOf("A black flag", moderated)];
    const batch = await submitBatch(stage, bodies, stage.hook("503"));
    await stage.untilPaused();
    await stage.exchange("poll", `${BATCHES}/${batch.id}`);
  },

  async "batch-completed"(stage) {
    const batch = await submitBatch(stage, [bodyOf("A harvest")], {});
    const path = `${BATCHES}/${batch.id}`;
    await stage.until(path, ({ status }) => status === "completed");
    await stage.untilStepsEnd();
    await stage.exchange("poll", path);
  },
};

function submitBatch(stage: Stage, bodies: object[], more: object) {
  const requests = bodies.map((body, index) => ({ custom_id: `request ${index}`, body }));
  return stage.exchange("request", BATCHES, {
    method: "POST",
    headers: keyed({ "content-type": "application/json" }),
    body: { requests, ...more },
  });
}
