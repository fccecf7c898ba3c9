import { runInDurableObject } from "cloudflare:test";
import { describe, expect, inject, it } from "vitest";
import { usageOf } from "../../src/access/accounts.ts";
import { parseImageRequest } from "../../src/contract/request.ts";
import { toStoredRequest } from "../../src/contract/stored-request.ts";
import { WITHOUT_WAITING } from "../../src/generation/protocol.ts";
import { requestIdentity, requestKeys } from "../../src/generation/key.ts";
import { parseCacheControl } from "../../src/lib/cache-control.ts";
import { objectIdOf } from "../../src/lib/object-id.ts";
import { eventually } from "../support/eventually.ts";
import { hookAt } from "../support/webhooks/hook.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  bindings,
  changeEnvironment,
  environment,
  fetchWorker,
  keyOf,
  ORIGIN,
  post,
  sharedObject,
  testConfig,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { jobsWithoutPauses } from "../support/worker/job-workflows.ts";
import { newBody } from "../support/bodies.ts";

const env = environment();
const PAYER = { caller: "public", account: "network/local", token: undefined };

const log = quietAndFresh();
const jobs = jobsWithoutPauses();

async function idOf(response: Response): Promise<string> {
  return (await response.json<{ id: string }>()).id;
}

/** Returns the Durable Object of an Idempotency-Key of a client without a token, in a namespace. */
function keyObject(namespace: string, idempotencyKey: string) {
  const objects = bindings().IDEMPOTENCY;
  return objects.get(objects.idFromName(`${namespace}/${idempotencyKey}`));
}

/** Removes the field that version 0.1.0 did not store from a stored job or batch. */
async function asVersion010(prefix: "job" | "batch", id: string): Promise<void> {
  const objects = bindings().JOBS;
  const object = objects.get(objects.idFromString(String(objectIdOf(prefix, id))));
  await runInDurableObject(object, (_, state) => {
    const { requestFingerprint, ...stored } = state.storage.kv.get<Record<string, unknown>>(
      "order",
    ) ?? { requestFingerprint: undefined };
    expect(requestFingerprint).toEqual(expect.any(String));
    state.storage.kv.put("order", stored);
  });
}

describe("an Idempotency-Key that version 0.1.0 stored", () => {
  it("returns the generation of its request, and does not reject another network's request", async () => {
    const body = newBody();
    const key = crypto.randomUUID();
    const id = await idOf(await post(body, {}));
    await runInDurableObject(keyObject("public", key), async (_, state) => {
      await state.storage.put("claim", { requestKey: await keyOf(body), generationId: id });
    });
    const headers = { "idempotency-key": key, "cache-control": "no-cache" };
    expect(await idOf(await post(body, headers))).toBe(id);
    expect(await upstreamCalls(body.prompt)).toBe(1);
    const elsewhere = { ...headers, "cf-connecting-ip": "192.0.2.9" };
    expect(await idOf(await post(body, elsewhere))).not.toBe(id);
    expect((await post({ ...body, n: 2 }, headers)).status).toBe(200);
  });

  it("has the fields that this version still stores, next to the fingerprint", async () => {
    const body = newBody();
    const key = crypto.randomUUID();
    const generationId = await idOf(await post(body, { "idempotency-key": key }));
    const config = testConfig();
    const { spec } = parseImageRequest(body, config, Date.now());
    const keys = await requestKeys(spec, config.upstream.baseUrl);
    const { fingerprint } = await requestIdentity(spec, keys);
    const stored = await runInDurableObject(keyObject("network/local", key), (_, state) =>
      state.storage.get("claim"),
    );
    expect(stored).toEqual({ requestKey: await keyOf(body), generationId, fingerprint });
  });
});

describe("an Idempotency-Key", () => {
  it("returns the same generation or job after a change of the configuration", async () => {
    const changed = environment({ MODEL_ALIASES: "dall-e-2=my-deployment" });
    const body = newBody();
    const headers = { "idempotency-key": crypto.randomUUID(), "cache-control": "no-cache" };
    const id = await idOf(await post(body, headers));
    expect(await idOf(await post(body, headers, changed))).toBe(id);
    expect(await upstreamCalls(body.prompt)).toBe(1);

    const job = { ...newBody(), webhook_url: hookAt(inject("receiverUrl")).url };
    const named = { prefer: "respond-async", "idempotency-key": crypto.randomUUID() };
    const jobId = await idOf(await post(job, named));
    await jobs.done();
    const again = await post(job, named, changed);
    expect((await again.json<{ job: string }>()).job).toBe(jobId);
  });
});

describe("a job that version 0.1.0 stored", () => {
  it("is returned for the same request, and rejects another request", async () => {
    const body = { ...newBody(), webhook_url: hookAt(inject("receiverUrl")).url };
    const headers = { prefer: "respond-async", "idempotency-key": crypto.randomUUID() };
    const id = await idOf(await post(body, headers));
    await jobs.done();
    await asVersion010("job", id);
    const again = await post(body, headers);
    expect((await again.json<{ job: string }>()).job).toBe(id);
    expect((await post({ ...body, n: 2 }, headers)).status).toBe(422);
  });

  it.each([
    ["returned to the network that submitted it", "192.0.2.1", true],
    ["not returned to another network, which shared its keys then", "192.0.2.2", false],
  ])("is %s", async (_, ip, isSame) => {
    const body = newBody();
    const key = crypto.randomUUID();
    const webhookUrl = hookAt(inject("receiverUrl")).url;
    const { spec, ...rest } = parseImageRequest(body, testConfig(), Date.now());
    const requestKey = (await requestKeys(spec, testConfig().upstream.baseUrl)).key;
    const account = "network/192.0.2.1";
    const objects = bindings().JOBS;
    const accepted = await objects.get(objects.idFromName(`job/public/${key}`)).accept({
      isBatch: false,
      requests: [{ customId: undefined, request: toStoredRequest({ spec, ...rest }) }],
      requester: { principal: "public", rateKey: account, payer: { ...PAYER, account } },
      directives: parseCacheControl(undefined),
      origin: ORIGIN,
      webhookUrl,
      fingerprint: `${requestKey} ${webhookUrl}`,
    });
    const headers = { prefer: "respond-async", "idempotency-key": key, "cf-connecting-ip": ip };
    const response = await post({ ...body, webhook_url: webhookUrl }, headers);
    expect([response.status, (await idOf(response)) === accepted?.id]).toEqual([202, isSame]);
  });

  it("is returned to a Worker of version 0.1.0 that calls a Durable Object of this version", async () => {
    const objects = bindings().JOBS;
    const object = objects.get(objects.newUniqueId());
    const submission = {
      isBatch: false,
      requests: [],
      requester: { principal: "a", rateKey: "a", payer: PAYER },
      directives: parseCacheControl(undefined),
      origin: ORIGIN,
      webhookUrl: undefined,
      fingerprint: "key",
    };
    const request = toStoredRequest(parseImageRequest(newBody(), testConfig(), Date.now()));
    const requests = [{ customId: undefined, request }];
    const accepted = await object.accept({
      ...submission,
      requests,
      requestFingerprint: "request",
    });
    expect((await object.accept(submission))?.id).toBe(accepted?.id);
    expect(await object.accept({ ...submission, fingerprint: "other" })).toBeUndefined();
  });

  it("is returned for the same requests if it is a batch, and rejects other requests", async () => {
    const key = { "idempotency-key": crypto.randomUUID() };
    const submit = (requests: object[]) =>
      fetchWorker("/v1/images/batches", env, {
        method: "POST",
        headers: { "content-type": "application/json", ...key },
        body: JSON.stringify({ requests }),
      });
    const requests = [{ custom_id: "a", body: newBody() }];
    const id = await idOf(await submit(requests));
    await jobs.done();
    await asVersion010("batch", id);
    expect(await idOf(await submit(requests))).toBe(id);
    expect((await submit([{ custom_id: "b", body: newBody() }])).status).toBe(422);
  });
});

describe("a generation that was queued before its model was retired", () => {
  it("is generated by the successor, and charged at the successor's price", async () => {
    const body = { model: "gpt-image-1", size: "1024x1024", quality: "low", prompt: "" };
    body.prompt = crypto.randomUUID();
    const object = await sharedObject(body);
    await changeEnvironment(object, { RETIRED_MODELS: "replace" });
    const request = toStoredRequest(parseImageRequest(body, testConfig(), Date.now()));
    expect(request.upstreamModel).toBe("gpt-image-1");
    const key = await keyOf(body);
    const { id } = await object.start({
      key,
      request,
      payer: PAYER,
      store: true,
      keepSeconds: 600,
      maxAgeSeconds: 1000,
    });
    const completed = await object.progress(id, { ...WITHOUT_WAITING, waitMs: 10_000, seen: 99 });
    expect(completed?.record?.model).toBe("gpt-image-2.6-sunburst");
    const generation = log.info.find((line) => line.includes('"event":"generation"'));
    expect(JSON.parse(String(generation))).toMatchObject({ model: "gpt-image-2.6-sunburst" });
    const tokens = Number(completed?.record?.usage.output_tokens);
    await eventually(async () => {
      const [row] = (await usageOf(testConfig())).rows;
      expect(row).toMatchObject({ model: "gpt-image-2.6-sunburst", images: 1 });
      const inputTokens = Number(completed?.record?.usage.input_tokens);
      expect(row?.spent).toBe(inputTokens * 5 + tokens * 30);
    });
  });
});
