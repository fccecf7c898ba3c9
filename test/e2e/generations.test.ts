import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { ADMIN_KEY } from "../support/gateway.ts";
import { read, stage, type ErrorAnswer } from "../support/stage.ts";
import { newBody } from "../support/bodies.ts";

const theStage = stage();
const CROWD = 200;

interface Pending {
  id: string;
  status: string;
  created: number;
}

function calls({ prompt }: { prompt: string }): number {
  return theStage.calls(prompt);
}

function poll(id: string, query = "", headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${theStage.gateway.url}/v1/images/generations/${id}${query}`, { headers });
}

async function finished(id: string): Promise<Response> {
  return eventually(async () => {
    const response = await poll(id);
    if (response.status === 202) throw new Error("not yet");
    return response;
  });
}

describe("identical requests at the same moment", () => {
  it(`are one upstream call, however many: ${CROWD}`, async () => {
    const body = newBody("[upstream delay=700]");
    const responses = await Promise.all(Array.from({ length: CROWD }, () => theStage.post(body)));
    const answers = await Promise.all(responses.map((response) => read(response)));
    expect(new Set(responses.map((response) => response.status))).toEqual(new Set([200]));
    expect(new Set(answers.map((answer) => answer.id)).size).toBe(1);
    expect(calls(body)).toBe(1);
    const statuses = responses.map((response) => response.headers.get("cache-status"));
    const count = (status: string) => statuses.filter((other) => other === status).length;
    expect(count("darkroom; fwd=miss; stored")).toBe(1);
    expect(count("darkroom; fwd=miss; collapsed")).toBe(CROWD - 1);
  });

  it("are one in whichever form each wants it", async () => {
    const body = newBody("[upstream delay=300]");
    const [bytes, url] = await Promise.all(
      ["b64_json", "url"].map(async (response_format) =>
        read(await theStage.post({ ...body, response_format })),
      ),
    );
    const file = await fetch(String(url?.data[0]?.url));
    const base64 = Buffer.from(await file.arrayBuffer()).toString("base64");
    expect(base64).toBe(bytes?.data[0]?.b64_json);
    expect(calls(body)).toBe(1);
  });

  it("share a failure too, and leave nothing behind", async () => {
    const body = newBody("[upstream delay=300 status=400 times=1]");
    const responses = await Promise.all(Array.from({ length: 20 }, () => theStage.post(body)));
    expect(new Set(responses.map((response) => response.status))).toEqual(new Set([400]));
    expect(calls(body)).toBe(1);
    expect((await theStage.post(body)).status).toBe(200);
  });

  it("are many where each says no-cache", async () => {
    const body = newBody("[upstream delay=100]");
    const headers = { "cache-control": "no-cache" };
    await Promise.all([theStage.post(body, headers), theStage.post(body, headers)]);
    expect(calls(body)).toBe(2);
  });
});

describe("a client that leaves", () => {
  it("finds the picture that it paid for when it comes back", async () => {
    const body = newBody("[upstream delay=500]");
    const leaving = new AbortController();
    const request = fetch(`${theStage.gateway.url}/v1/images/generations`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: leaving.signal,
    });
    await eventually(() => expect(calls(body)).toBe(1));
    leaving.abort();
    await expect(request).rejects.toThrow("aborted");
    const again = await theStage.post(body);
    expect(again.status).toBe(200);
    expect(again.headers.get("cache-status")).toMatch(/collapsed|hit/);
    expect(calls(body)).toBe(1);
  });
});

describe("Prefer", () => {
  it("respond-async answers at once, and says where the result will be", async () => {
    const body = newBody("[upstream delay=300]");
    const response = await theStage.post(body, { prefer: "respond-async" });
    expect(response.status).toBe(202);
    expect(response.headers.get("preference-applied")).toBe("respond-async");
    const pending = await read<Pending>(response);
    expect(pending).toEqual({
      id: expect.stringMatching(/^gen_/) as string,
      status: "queued",
      created: expect.any(Number) as number,
    });
    expect(response.headers.get("location")).toBe(`/v1/images/generations/${pending.id}`);
    const result = await finished(pending.id);
    expect((await read(result)).id).toBe(pending.id);
    expect(calls(body)).toBe(1);
  });

  it("respond-async has the result at once where it is made already", async () => {
    const body = newBody();
    await theStage.post(body);
    expect((await theStage.post(body, { prefer: "respond-async" })).status).toBe(200);
  });

  it("wait=N waits so long", async () => {
    const body = newBody("[upstream delay=3000]");
    const early = await theStage.post(body, { prefer: "respond-async, wait=1" });
    expect(early.status).toBe(202);
    expect(early.headers.get("preference-applied")).toBe("respond-async");
    const late = await theStage.post(body, { prefer: "wait=10" });
    expect(late.status).toBe(200);
    expect(late.headers.get("preference-applied")).toBe("wait=10");
    expect(calls(body)).toBe(1);
  });
});

describe("GET /v1/images/generations/{id}", () => {
  it("is 202 while it is made, and 200 with the same answer after that", async () => {
    const body = newBody("[upstream delay=400]");
    const { id } = await read<Pending>(await theStage.post(body, { prefer: "respond-async" }));
    await eventually(() => expect(calls(body)).toBe(1));
    const during = await poll(id);
    expect(during.status).toBe(202);
    expect(await read<Pending>(during)).toMatchObject({ id, status: "in_progress" });
    expect(during.headers.get("retry-after")).toBe("2");

    const after = await read(await finished(id));
    expect(after).toEqual(await read(await theStage.post(body)));
    expect(after.data[0]?.url).toContain(`/v1/images/${id}/0.png`);
  });

  it("gives the form that is asked for, or the model's own", async () => {
    const { id } = await read(await theStage.post(newBody()));
    const bytes = await read(await poll(id, "?response_format=b64_json"));
    expect(bytes.data[0]?.b64_json).toMatch(/^iVBORw0KGgo/);
    const url = await read(await poll(id, "?response_format=url"));
    expect(url.data[0]).toEqual({ url: expect.stringContaining(id) as string });
    const wrong = await poll(id, "?response_format=file");
    expect((await read<ErrorAnswer>(wrong)).error).toMatchObject({
      param: "response_format",
      code: "invalid_value",
    });
  });

  it("waits where the client prefers to", async () => {
    const body = newBody("[upstream delay=400]");
    const { id } = await read<Pending>(await theStage.post(body, { prefer: "respond-async" }));
    expect((await poll(id, "", { prefer: "wait=10" })).status).toBe(200);
  });

  it("gives the generation's own error where it failed", async () => {
    const body = newBody("[upstream status=422 code=too_strange]");
    const { id } = await read<Pending>(await theStage.post(body, { prefer: "respond-async" }));
    const response = await finished(id);
    expect(response.status).toBe(422);
    expect((await read<ErrorAnswer>(response)).error.code).toBe("too_strange");
  });

  it.each([
    ["no id", "nothing"],
    ["an id of nobody", `gen_${"A".repeat(59)}`],
    ["a path that climbs", "..%2f..%2fhealth"],
  ])("is 404 for %s", async (_, id) => {
    const response = await poll(id);
    expect(response.status).toBe(404);
    expect((await read<ErrorAnswer>(response)).error.code).toBe("generation_not_found");
  });
});

describe("DELETE /v1/images/generations/{id}", () => {
  function remove(id: string, authorization?: string): Promise<Response> {
    return fetch(`${theStage.gateway.url}/v1/images/generations/${id}`, {
      method: "DELETE",
      headers: authorization === undefined ? {} : { authorization },
    });
  }

  it("removes it everywhere, so that the next request makes it anew", async () => {
    const body = newBody();
    const { id, data } = await read(await theStage.post(body));
    await eventually(async () => {
      const { keys } = await theStage.gateway.cache.list({ prefix: `generation/${id}` });
      expect(keys).toHaveLength(1);
    });
    expect((await remove(id, `Bearer ${ADMIN_KEY}`)).status).toBe(204);
    expect((await poll(id)).status).toBe(404);
    expect((await fetch(String(data[0]?.url))).status).toBe(404);
    const { keys } = await theStage.gateway.cache.list({ prefix: `image/${id}` });
    expect(keys).toEqual([]);
    const anew = await theStage.post(body);
    expect(anew.headers.get("cache-status")).toBe("darkroom; fwd=miss; stored");
    expect((await read(anew)).id).not.toBe(id);
  });

  it.each([
    [undefined, 401, "missing_token"],
    ["Basic abc", 401, "invalid_token"],
    ["Bearer wrong", 401, "invalid_token"],
    [`Bearer ${ADMIN_KEY}x`, 401, "invalid_token"],
  ])("is for the owner only: %s", async (authorization, status, code) => {
    const body = newBody();
    const { id } = await read(await theStage.post(body));
    const response = await remove(id, authorization);
    expect(response.status).toBe(status);
    expect((await read<ErrorAnswer>(response)).error.code).toBe(code);
    expect((await poll(id)).status).toBe(200);
  });

  it("is 404 where there is nothing", async () => {
    const response = await remove(`gen_${"A".repeat(59)}`, `Bearer ${ADMIN_KEY}`);
    expect(response.status).toBe(404);
  });
});

describe("Idempotency-Key", () => {
  const fresh = { "cache-control": "no-cache" };

  it("is the same generation each time, even with no-cache, and at the same moment", async () => {
    const body = newBody("[upstream delay=200]");
    const headers = { ...fresh, "idempotency-key": crypto.randomUUID() };
    const together = await Promise.all([
      theStage.post(body, headers),
      theStage.post(body, headers),
    ]);
    const later = await theStage.post(body, headers);
    const answers = await Promise.all([...together, later].map((response) => read(response)));
    expect(new Set(answers.map((answer) => answer.id)).size).toBe(1);
    expect(calls(body)).toBe(1);
    expect(later.headers.get("cache-status")).toContain("hit");
  });

  it("shares what everybody shares", async () => {
    const body = newBody();
    const plain = await read(await theStage.post(body));
    const keyed = await read(await theStage.post(body, { "idempotency-key": crypto.randomUUID() }));
    expect(keyed.id).toBe(plain.id);
    expect(calls(body)).toBe(1);
  });

  it("means the same request in another form, and is refused for another one", async () => {
    const body = newBody();
    const headers = { "idempotency-key": crypto.randomUUID() };
    await theStage.post(body, headers);
    const form = await theStage.post({ ...body, response_format: "b64_json" }, headers);
    expect(form.status).toBe(200);
    const other = await theStage.post({ ...body, n: 2 }, headers);
    expect(other.status).toBe(422);
    expect((await read<ErrorAnswer>(other)).error.code).toBe("idempotency_key_reused");
    expect(calls(body)).toBe(1);
  });

  it("may try again what cost nothing, and not what may have been paid for", async () => {
    const headers = { ...fresh, "idempotency-key": crypto.randomUUID() };
    const free = newBody("[upstream status=400 times=1]");
    expect((await theStage.post(free, headers)).status).toBe(400);
    expect((await theStage.post(free, headers)).status).toBe(200);

    const paid = newBody("[upstream answer=html times=1]");
    const other = { ...fresh, "idempotency-key": crypto.randomUUID() };
    expect((await theStage.post(paid, other)).status).toBe(502);
    expect((await theStage.post(paid, other)).status).toBe(502);
    expect(calls(paid)).toBe(1);
  });

  it("may have 255 characters", async () => {
    const body = newBody();
    expect((await theStage.post(body, { "idempotency-key": "k".repeat(255) })).status).toBe(200);
    const long = await theStage.post(body, { "idempotency-key": "k".repeat(256) });
    expect(long.status).toBe(400);
    expect((await read<ErrorAnswer>(long)).error).toMatchObject({
      param: "Idempotency-Key",
      code: "string_above_max_length",
    });
  });
});

describe("a refusal of the prompt", () => {
  let refusals = 0;

  it.each([
    ["with details", "code=moderation_blocked"],
    ["without details", "error=echo code=content_policy_violation"],
  ])("is remembered, so that the prompt is not sent again: %s", async (_, directives) => {
    const body = newBody(`[upstream status=400 ${directives}]`);
    const first = await read<ErrorAnswer>(await theStage.post(body));
    await eventually(async () => {
      const { keys } = await theStage.gateway.cache.list({ prefix: "refusal/" });
      refusals = keys.length > refusals ? keys.length : expect.fail("not remembered yet");
    });
    const again = await theStage.post(body);
    expect(again.status).toBe(400);
    expect(await read<ErrorAnswer>(again)).toEqual(first);
    expect(first.error.code).toBe("moderation_blocked");
    expect(calls(body)).toBe(1);
    await theStage.post(body, { "cache-control": "no-cache" });
    expect(calls(body)).toBe(2);
  });

  it("is the only failure that is", async () => {
    const body = newBody("[upstream status=400 times=1]");
    expect((await theStage.post(body)).status).toBe(400);
    const again = await read(await theStage.post(body));
    expect(again.data).toHaveLength(1);
  });
});
