import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { ADMIN_KEY } from "../support/gateway.ts";
import { read, startStage, type ErrorBody } from "../support/stage.ts";
import { newBody } from "../support/bodies.ts";

const stage = startStage();
const CROWD = 200;

interface Pending {
  id: string;
  status: string;
  created: number;
}

function calls({ prompt }: { prompt: string }): number {
  return stage.calls(prompt);
}

function poll(id: string, query = "", headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${stage.gateway.url}/v1/images/generations/${id}${query}`, { headers });
}

async function finished(id: string): Promise<Response> {
  return eventually(async () => {
    const response = await poll(id);
    if (response.status === 202) throw new Error("not yet");
    return response;
  });
}

describe("identical concurrent requests", () => {
  it(`cause one upstream call for ${CROWD} requests and collapse all others`, async () => {
    const body = newBody("[upstream delay=700]");
    const responses = await Promise.all(Array.from({ length: CROWD }, () => stage.post(body)));
    const generations = await Promise.all(responses.map((response) => read(response)));
    expect(new Set(responses.map((response) => response.status))).toEqual(new Set([200]));
    expect(new Set(generations.map((generation) => generation.id)).size).toBe(1);
    expect(calls(body)).toBe(1);
    const statuses = responses.map((response) => response.headers.get("cache-status"));
    const count = (status: string) => statuses.filter((other) => other === status).length;
    expect(count("darkroom; fwd=miss; stored")).toBe(1);
    expect(count("darkroom; fwd=miss; collapsed")).toBe(CROWD - 1);
  });

  it("share one generation across response formats", async () => {
    const body = newBody("[upstream delay=300]");
    const [bytes, url] = await Promise.all(
      ["b64_json", "url"].map(async (response_format) =>
        read(await stage.post({ ...body, response_format })),
      ),
    );
    const file = await fetch(String(url?.data[0]?.url));
    const base64 = Buffer.from(await file.arrayBuffer()).toString("base64");
    expect(base64).toBe(bytes?.data[0]?.b64_json);
    expect(calls(body)).toBe(1);
  });

  it("share a failure, which is not cached", async () => {
    const body = newBody("[upstream delay=300 status=400 times=1]");
    const responses = await Promise.all(Array.from({ length: 20 }, () => stage.post(body)));
    expect(new Set(responses.map((response) => response.status))).toEqual(new Set([400]));
    expect(calls(body)).toBe(1);
    expect((await stage.post(body)).status).toBe(200);
  });

  it("cause one upstream call each with no-cache", async () => {
    const body = newBody("[upstream delay=100]");
    const headers = { "cache-control": "no-cache" };
    await Promise.all([stage.post(body, headers), stage.post(body, headers)]);
    expect(calls(body)).toBe(2);
  });
});

describe("a client that disconnects", () => {
  it("receives the image of the first request when it repeats the request", async () => {
    const body = newBody("[upstream delay=500]");
    const disconnect = new AbortController();
    const request = fetch(`${stage.gateway.url}/v1/images/generations`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: disconnect.signal,
    });
    await eventually(() => expect(calls(body)).toBe(1));
    disconnect.abort();
    await expect(request).rejects.toThrow("aborted");
    const repeated = await stage.post(body);
    expect(repeated.status).toBe(200);
    expect(repeated.headers.get("cache-status")).toMatch(/collapsed|hit/);
    expect(calls(body)).toBe(1);
  });
});

describe("Prefer", () => {
  it("respond-async returns 202 at once with the URL of the result", async () => {
    const body = newBody("[upstream delay=300]");
    const response = await stage.post(body, { prefer: "respond-async" });
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

  it("respond-async returns 200 with the result if it is cached", async () => {
    const body = newBody();
    await stage.post(body);
    expect((await stage.post(body, { prefer: "respond-async" })).status).toBe(200);
  });

  it("wait=N returns 202 after N seconds, or the result if it is completed earlier", async () => {
    const body = newBody("[upstream delay=3000]");
    const early = await stage.post(body, { prefer: "respond-async, wait=1" });
    expect(early.status).toBe(202);
    expect(early.headers.get("preference-applied")).toBe("respond-async");
    const late = await stage.post(body, { prefer: "wait=10" });
    expect(late.status).toBe(200);
    expect(late.headers.get("preference-applied")).toBe("wait=10");
    expect(calls(body)).toBe(1);
  });
});

describe("GET /v1/images/generations/{id}", () => {
  it("returns 202 while the generation is in progress, and then 200 with the same body as POST", async () => {
    const body = newBody("[upstream delay=400]");
    const { id } = await read<Pending>(await stage.post(body, { prefer: "respond-async" }));
    await eventually(() => expect(calls(body)).toBe(1));
    const during = await poll(id);
    expect(during.status).toBe(202);
    expect(await read<Pending>(during)).toMatchObject({ id, status: "in_progress" });
    expect(during.headers.get("retry-after")).toBe("2");

    const after = await read(await finished(id));
    expect(after).toEqual(await read(await stage.post(body)));
    expect(after.data[0]?.url).toContain(`/v1/images/${id}/0.png`);
  });

  it("returns the requested response format, and rejects an unknown one", async () => {
    const { id } = await read(await stage.post(newBody()));
    const bytes = await read(await poll(id, "?response_format=b64_json"));
    expect(bytes.data[0]?.b64_json).toMatch(/^iVBORw0KGgo/);
    const url = await read(await poll(id, "?response_format=url"));
    expect(url.data[0]).toEqual({ url: expect.stringContaining(id) as string });
    const wrong = await poll(id, "?response_format=file");
    expect((await read<ErrorBody>(wrong)).error).toMatchObject({
      param: "response_format",
      code: "invalid_value",
    });
  });

  it("waits for the result with Prefer: wait", async () => {
    const body = newBody("[upstream delay=400]");
    const { id } = await read<Pending>(await stage.post(body, { prefer: "respond-async" }));
    expect((await poll(id, "", { prefer: "wait=10" })).status).toBe(200);
  });

  it("returns the error of a failed generation", async () => {
    const body = newBody("[upstream status=422 code=too_strange]");
    const { id } = await read<Pending>(await stage.post(body, { prefer: "respond-async" }));
    const response = await finished(id);
    expect(response.status).toBe(422);
    expect((await read<ErrorBody>(response)).error.code).toBe("too_strange");
  });

  it.each([
    ["a malformed id", "nothing"],
    ["an unknown id", `gen_${"A".repeat(59)}`],
    ["a path traversal", "..%2f..%2fhealth"],
  ])("returns 404 for %s", async (_, id) => {
    const response = await poll(id);
    expect(response.status).toBe(404);
    expect((await read<ErrorBody>(response)).error.code).toBe("generation_not_found");
  });
});

describe("DELETE /v1/images/generations/{id}", () => {
  function deleteById(id: string, authorization?: string): Promise<Response> {
    return fetch(`${stage.gateway.url}/v1/images/generations/${id}`, {
      method: "DELETE",
      headers: authorization === undefined ? {} : { authorization },
    });
  }

  it("deletes the generation and its images, so that the next request regenerates it", async () => {
    const body = newBody();
    const { id, data } = await read(await stage.post(body));
    await eventually(async () => {
      const { keys } = await stage.gateway.cache.list({ prefix: `generation/${id}` });
      expect(keys).toHaveLength(1);
    });
    expect((await deleteById(id, `Bearer ${ADMIN_KEY}`)).status).toBe(204);
    expect((await poll(id)).status).toBe(404);
    expect((await fetch(String(data[0]?.url))).status).toBe(404);
    const { keys } = await stage.gateway.cache.list({ prefix: `image/${id}` });
    expect(keys).toEqual([]);
    const regenerated = await stage.post(body);
    expect(regenerated.headers.get("cache-status")).toBe("darkroom; fwd=miss; stored");
    expect((await read(regenerated)).id).not.toBe(id);
  });

  it.each([
    [undefined, 401, "missing_token"],
    ["Basic abc", 401, "invalid_token"],
    ["Bearer wrong", 401, "invalid_token"],
    [`Bearer ${ADMIN_KEY}x`, 401, "invalid_token"],
  ])("rejects the Authorization header %s with %i `%s`", async (authorization, status, code) => {
    const body = newBody();
    const { id } = await read(await stage.post(body));
    const response = await deleteById(id, authorization);
    expect(response.status).toBe(status);
    expect((await read<ErrorBody>(response)).error.code).toBe(code);
    expect((await poll(id)).status).toBe(200);
  });

  it("returns 404 for an unknown id", async () => {
    const response = await deleteById(`gen_${"A".repeat(59)}`, `Bearer ${ADMIN_KEY}`);
    expect(response.status).toBe(404);
  });
});

describe("Idempotency-Key", () => {
  const fresh = { "cache-control": "no-cache" };

  it("returns the same generation for concurrent and repeated requests, even with no-cache", async () => {
    const body = newBody("[upstream delay=200]");
    const headers = { ...fresh, "idempotency-key": crypto.randomUUID() };
    const together = await Promise.all([stage.post(body, headers), stage.post(body, headers)]);
    const later = await stage.post(body, headers);
    const generations = await Promise.all([...together, later].map((response) => read(response)));
    expect(new Set(generations.map((generation) => generation.id)).size).toBe(1);
    expect(calls(body)).toBe(1);
    expect(later.headers.get("cache-status")).toContain("hit");
  });

  it("returns the shared cached generation", async () => {
    const body = newBody();
    const plain = await read(await stage.post(body));
    const keyed = await read(await stage.post(body, { "idempotency-key": crypto.randomUUID() }));
    expect(keyed.id).toBe(plain.id);
    expect(calls(body)).toBe(1);
  });

  it("is accepted with another response format, and rejected with 422 for another request", async () => {
    const body = newBody();
    const headers = { "idempotency-key": crypto.randomUUID() };
    await stage.post(body, headers);
    const form = await stage.post({ ...body, response_format: "b64_json" }, headers);
    expect(form.status).toBe(200);
    const other = await stage.post({ ...body, n: 2 }, headers);
    expect(other.status).toBe(422);
    expect((await read<ErrorBody>(other)).error.code).toBe("idempotency_key_reused");
    expect(calls(body)).toBe(1);
  });

  it("retries a failure that cost nothing, and returns a failure that may have been charged again", async () => {
    const headers = { ...fresh, "idempotency-key": crypto.randomUUID() };
    const free = newBody("[upstream status=400 times=1]");
    expect((await stage.post(free, headers)).status).toBe(400);
    expect((await stage.post(free, headers)).status).toBe(200);

    const paid = newBody("[upstream answer=html times=1]");
    const other = { ...fresh, "idempotency-key": crypto.randomUUID() };
    expect((await stage.post(paid, other)).status).toBe(502);
    expect((await stage.post(paid, other)).status).toBe(502);
    expect(calls(paid)).toBe(1);
  });

  it("is accepted with 255 characters, and rejected with 256", async () => {
    const body = newBody();
    expect((await stage.post(body, { "idempotency-key": "k".repeat(255) })).status).toBe(200);
    const long = await stage.post(body, { "idempotency-key": "k".repeat(256) });
    expect(long.status).toBe(400);
    expect((await read<ErrorBody>(long)).error).toMatchObject({
      param: "Idempotency-Key",
      code: "string_above_max_length",
    });
  });
});

describe("a moderation block", () => {
  let storedBlocks = 0;

  it.each([
    ["with details", "code=moderation_blocked"],
    ["without details", "error=echo code=content_policy_violation"],
  ])("is cached, so that the prompt is not sent again: %s", async (_, directives) => {
    const body = newBody(`[upstream status=400 ${directives}]`);
    const first = await read<ErrorBody>(await stage.post(body));
    await eventually(async () => {
      const { keys } = await stage.gateway.cache.list({ prefix: "refusal/" });
      storedBlocks = keys.length > storedBlocks ? keys.length : expect.fail("not stored yet");
    });
    const repeated = await stage.post(body);
    expect(repeated.status).toBe(400);
    expect(await read<ErrorBody>(repeated)).toEqual(first);
    expect(first.error.code).toBe("moderation_blocked");
    expect(calls(body)).toBe(1);
    await stage.post(body, { "cache-control": "no-cache" });
    expect(calls(body)).toBe(2);
  });

  it("is the only failure that is cached", async () => {
    const body = newBody("[upstream status=400 times=1]");
    expect((await stage.post(body)).status).toBe(400);
    const repeated = await read(await stage.post(body));
    expect(repeated.data).toHaveLength(1);
  });
});
