import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { openAiAt } from "../support/openai.ts";
import { ADMIN_KEY, WEBHOOK_SECRET, WEBHOOK_SIGNING_SECRET } from "../support/gateway.ts";
import { eventIn, hookAt, type Hook, type Received } from "../support/webhooks/hook.ts";
import { startReceiver, type Receiver } from "../support/webhooks/receiver.ts";
import { webhookSecret } from "../support/webhooks/secret.ts";
import { read, startStage } from "../support/stage.ts";
import { newBody } from "../support/bodies.ts";
import { TOKEN_SECRET } from "../support/vars.ts";
import { tokenScript } from "../support/root.ts";

const PREVIOUS = webhookSecret("before");
const stage = startStage({ WEBHOOK_SIGNING_SECRET: `${WEBHOOK_SIGNING_SECRET},${PREVIOUS}` });

let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
});
afterAll(() => receiver.close());

/** Returns the first delivery that a hook receives. */
async function delivered(hook: Hook): Promise<Received> {
  return eventually(async () => {
    const [first] = await hook.received();
    return first ?? expect.fail("no delivery arrived");
  });
}

function postJson(path: string, body: string, headers: Record<string, string> = {}) {
  return fetch(`${stage.gateway.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body,
  });
}

describe("a job that the official SDK submits", () => {
  it("is delivered by a webhook that the SDK verifies with either of two secrets", async () => {
    const client = openAiAt(stage);
    const hook = hookAt(receiver.origin);
    // The SDK also sends parameters that it does not know.
    const body = { ...newBody(), webhook_url: hook.url };
    const submitted = await client.images
      .generate(body, { headers: { prefer: "respond-async" } })
      .asResponse();
    expect(submitted.status).toBe(202);
    const { id } = await read<{ id: string }>(submitted);
    const { headers, body: text } = await delivered(hook);
    for (const secret of [WEBHOOK_SIGNING_SECRET, PREVIOUS]) {
      const event = await client.webhooks.unwrap(text, headers, secret);
      expect(event).toMatchObject({ type: "image.generation.completed", data: { job: id } });
      expect(new Webhook(secret).verify(text, headers)).toEqual(event);
    }
    await expect(client.webhooks.unwrap(`${text} `, headers, PREVIOUS)).rejects.toThrow(
      "signature",
    );
    const { data } = eventIn({ headers, body: text }).data as { data: { url: string }[] };
    const image = await fetch(String(data[0]?.url));
    expect(image.headers.get("content-type")).toBe("image/png");
  });
});

describe("an incoming webhook", () => {
  it("submits one job with one delivery, even if the signed webhook is sent three times", async () => {
    const hook = hookAt(receiver.origin);
    const body = newBody();
    const text = JSON.stringify({ type: "order.paid", data: { ...body, webhook_url: hook.url } });
    const now = new Date();
    const send = () =>
      postJson("/v1/webhooks/images", text, {
        "webhook-id": "msg_1",
        "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
        "webhook-signature": new Webhook(WEBHOOK_SECRET).sign("msg_1", now, text),
      });
    const responses = await Promise.all([send(), send(), send()]);
    expect(responses.map(({ status }) => status)).toEqual([202, 202, 202]);
    const jobs = await Promise.all(responses.map((response) => read(response)));
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(1);
    expect(eventIn(await delivered(hook)).data).toMatchObject({ job: jobs[0]?.id });
    expect(await hook.received()).toHaveLength(1);
    expect(stage.upstream.received(body.prompt)).toHaveLength(1);
  });

  it("is accepted without a signature at a URL with a token of `npm run token`", async () => {
    const env = { ...process.env, TOKEN_SECRET };
    const args = [tokenScript, "--sub", "n8n", "--scope", "webhook"];
    const { stdout } = await promisify(execFile)(process.execPath, args, { env });
    const hook = hookAt(receiver.origin);
    const body = JSON.stringify({ ...newBody(), webhook_url: hook.url });
    const response = await postJson(`/v1/webhooks/images/${stdout.trim()}`, body);
    expect(response.status).toBe(202);
    expect(eventIn(await delivered(hook)).type).toBe("image.generation.completed");
  });
});

describe("a batch", () => {
  it("delivers all its results in one webhook", async () => {
    const hook = hookAt(receiver.origin);
    const bodies = [newBody(), newBody("[upstream status=400 code=moderation_blocked]")];
    const requests = bodies.map((body, index) => ({ custom_id: `nr ${index}`, body }));
    const text = JSON.stringify({ requests, webhook_url: hook.url });
    const { id } = await read<{ id: string }>(await postJson("/v1/images/batches", text));
    const { headers, body } = await delivered(hook);
    expect(new Webhook(WEBHOOK_SIGNING_SECRET).verify(body, headers)).toMatchObject({
      type: "batch.completed",
      data: {
        id,
        request_counts: { total: 2, completed: 1, failed: 1 },
        results: [
          { custom_id: "nr 0", status: "completed" },
          { custom_id: "nr 1", status: "failed", error: { code: "moderation_blocked" } },
        ],
      },
    });
  });
});

describe("a page of another origin", () => {
  it("cancels a batch that waits for its turn, which delivers its webhook at once", async () => {
    const origin = "https://app.example";
    const hook = hookAt(receiver.origin);
    const body = newBody("[upstream status=429 retry-after=3600]");
    const text = JSON.stringify({
      requests: [{ custom_id: "a", body }],
      webhook_url: hook.url,
    });
    const { id } = await read<{ id: string }>(await postJson("/v1/images/batches", text));
    await eventually(() => expect(stage.calls(body.prompt)).toBe(1));
    const url = `${stage.gateway.url}/v1/images/batches/${id}`;
    const preflight = await fetch(url, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "DELETE",
        "access-control-request-headers": "authorization",
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-origin")).toBe("*");
    expect(preflight.headers.get("access-control-allow-methods")).toContain("DELETE");
    expect(preflight.headers.get("access-control-allow-headers")).toBe("authorization");
    const anonymous = await fetch(url, { method: "DELETE", headers: { origin } });
    expect(anonymous.status).toBe(401);
    expect(anonymous.headers.get("access-control-allow-origin")).toBe("*");
    const headers = { origin, authorization: `Bearer ${ADMIN_KEY}` };
    const cancelled = await fetch(url, { method: "DELETE", headers });
    expect([cancelled.status, cancelled.headers.get("access-control-allow-origin")]).toEqual([
      200,
      "*",
    ]);
    const event = eventIn(await delivered(hook));
    expect(event).toMatchObject({
      type: "batch.completed",
      data: { id, request_counts: { total: 1, cancelled: 1 } },
    });
    expect(stage.calls(body.prompt)).toBe(1);
  });
});

describe("the log", () => {
  it("contains each job and each delivery attempt, but no webhook URL", async () => {
    const hook = hookAt(receiver.origin);
    const url = `${hook.url}?key=a-secret-of-the-receiver`;
    const body = JSON.stringify({ ...newBody(), webhook_url: url });
    await postJson("/v1/images/generations", body, { prefer: "respond-async" });
    await delivered(hook);
    await eventually(() => expect(stage.gateway.logs()).toContain('"event":"delivery"'));
    expect(stage.gateway.logs()).toContain('"event":"job"');
    expect(stage.gateway.logs()).not.toContain("a-secret-of-the-receiver");
    expect(stage.gateway.logs()).not.toContain(receiver.origin);
  });
});
