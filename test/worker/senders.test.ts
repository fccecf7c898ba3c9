import { describe, expect, inject, it, vi } from "vitest";
import { Generation } from "../../src/generation/object.ts";
import { newPrompt, SMALL } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { jobsWithoutPauses } from "../support/worker/job-workflows.ts";
import {
  bindings,
  changeEnvironment,
  deleteObjects,
  environment,
  errorOf,
  fetchWorker,
  post,
  sharedObject,
  upstreamCalls,
} from "../support/worker/harness.ts";

const log = quietAndFresh({ expectsErrors: true });
// Registered after the hooks above, so that jobs end before the reset.
jobsWithoutPauses();

const BLOCKED = [400, "moderation_blocked", null];

/** Releases the call that the upstream holds for a prompt. */
async function release(prompt: string, directives: string): Promise<void> {
  const url = releaseUrl(prompt, directives);
  await eventually(async () => expect((await fetch(url)).status).toBe(204));
}

/** Returns the URL that releases a call. Its response is 404 if the upstream holds none for the prompt. */
function releaseUrl(prompt: string, directives: string): URL {
  const url = new URL("/release", inject("upstreamUrl"));
  url.searchParams.set("prompt", prompt);
  url.searchParams.set("as", directives);
  return url;
}

/**
 * Sends a request of Ann that the upstream holds, and then another one that joins it. Returns both responses
 * after the upstream has responded to the first one as the directives say, and to any other with an image.
 */
async function joined(
  first: object,
  second: object,
  directives: string,
  vars: Record<string, string> = {},
) {
  const starts = vi.spyOn(Generation.prototype, "start");
  const prompt = newPrompt("[upstream hold times=1]");
  const env = environment(vars);
  const body = { ...SMALL, prompt, ...first };
  await changeEnvironment(await sharedObject(body), vars);
  const responses = [post(body, {}, env)];
  await eventually(() => expect(starts).toHaveBeenCalledTimes(1));
  responses.push(post({ ...SMALL, prompt, ...second }, {}, env));
  await eventually(() => expect(starts).toHaveBeenCalledTimes(2));
  await release(prompt, directives);
  const [ofFirst, ofSecond] = await Promise.all(responses);
  if (ofFirst === undefined || ofSecond === undefined) throw new Error("two responses");
  return { ofFirst, ofSecond, calls: await upstreamCalls(prompt) };
}

describe("a moderation block of a request with an identifier", () => {
  it.each(["user", "safety_identifier"])("is that of its sender alone: %s", async (name) => {
    const prompt = newPrompt("[upstream block=ann]");
    const body = { ...SMALL, prompt };
    expect(await errorOf(await post({ ...body, [name]: "ann" }))).toEqual(BLOCKED);
    expect(await errorOf(await post({ ...body, [name]: "ann" }))).toEqual(BLOCKED);
    expect(await upstreamCalls(prompt)).toBe(1);
    expect((await post({ ...body, [name]: "bob" })).status).toBe(200);
    expect(await upstreamCalls(prompt)).toBe(2);
  });

  it("is remembered in KV for its sender alone, without the identifier", async () => {
    // A random id may contain a short name, but no dot.
    const user = "ann.of.the.test";
    const prompt = newPrompt(`[upstream block=${user}]`);
    const body = { ...SMALL, prompt };
    await post({ ...body, user });
    await eventually(async () => {
      const { keys } = await bindings().CACHE.list({ prefix: "refusal/" });
      expect(keys.map(({ name }) => name)).toEqual([
        expect.stringMatching(/^refusal\/[0-9a-f]{64}$/),
      ]);
    });
    await deleteObjects();
    expect(await errorOf(await post({ ...body, user }))).toEqual(BLOCKED);
    expect(await upstreamCalls(prompt)).toBe(1);
    expect((await post(body)).status).toBe(200);
    expect(log.all().join()).not.toContain(user);
  });

  it("does not reach a request of another sender that joined: that one starts again", async () => {
    const { ofFirst, ofSecond, calls } = await joined(
      { user: "ann" },
      { user: "bob" },
      "block=ann",
    );
    expect(await errorOf(ofFirst)).toEqual(BLOCKED);
    expect(ofSecond.status).toBe(200);
    expect(ofSecond.headers.get("cache-status")).toBe("darkroom; fwd=miss; stored");
    expect(calls).toBe(2);
  });

  it("reaches a request of the same sender that joined", async () => {
    const { ofFirst, ofSecond, calls } = await joined(
      { user: "ann" },
      { user: "ann" },
      "block=ann",
    );
    expect(await errorOf(ofFirst)).toEqual(BLOCKED);
    expect(await errorOf(ofSecond)).toEqual(BLOCKED);
    expect(calls).toBe(1);
  });

  it("does not end the stream of another sender that joined", async () => {
    const stream = { model: "gpt-image-2", size: "1024x640", quality: "low", stream: true };
    const ann = { ...stream, safety_identifier: "ann" };
    const { ofFirst, ofSecond, calls } = await joined(ann, stream, "block=ann");
    expect(await errorOf(ofFirst)).toEqual(BLOCKED);
    expect(await ofSecond.text()).toContain("event: image_generation.completed");
    expect(calls).toBe(2);
  });
});

describe("a request that joins another sender's generation and does not wait", () => {
  /** Sends a request of Ann that the upstream holds, and one of another client that joins it without waiting. */
  async function joinedAsync(second: object) {
    const starts = vi.spyOn(Generation.prototype, "start");
    const prompt = newPrompt("[upstream hold times=1]");
    const ofFirst = post({ ...SMALL, prompt, user: "ann" });
    await eventually(() => expect(starts).toHaveBeenCalledTimes(1));
    const body = { ...SMALL, prompt, ...second };
    const accepted = await post(body, { prefer: "respond-async" });
    expect([accepted.status, accepted.headers.get("preference-applied")]).toEqual([
      202,
      "respond-async",
    ]);
    const location = String(accepted.headers.get("location"));
    await release(prompt, "block=ann");
    expect(await errorOf(await ofFirst)).toEqual(BLOCKED);
    /** Polls until the response is no longer 202. */
    const ended = () =>
      eventually(async () => {
        const response = await fetchWorker(location);
        expect(response.status).not.toBe(202);
        return response;
      });
    return { location, ended, calls: () => upstreamCalls(prompt) };
  }

  it("is a job, which starts again if that sender is blocked", async () => {
    const { location, ended, calls } = await joinedAsync({ user: "bob" });
    expect(location).toContain("/job_");
    expect((await ended()).status).toBe(200);
    expect(await calls()).toBe(2);
  });

  it("is no job if it is of the same sender, who receives the block", async () => {
    const { location, ended, calls } = await joinedAsync({ user: "ann" });
    expect(location).toContain("/gen_");
    expect(await errorOf(await ended())).toEqual(BLOCKED);
    expect(await calls()).toBe(1);
  });
});

describe("a moderation block of a request without an identifier", () => {
  it("is that of the prompt, so it reaches every sender", async () => {
    const prompt = newPrompt("[upstream status=400 code=moderation_blocked]");
    const body = { ...SMALL, prompt };
    expect(await errorOf(await post(body))).toEqual(BLOCKED);
    expect(await errorOf(await post({ ...body, user: "ann" }))).toEqual(BLOCKED);
    await deleteObjects();
    expect(await errorOf(await post({ ...body, user: "ann" }))).toEqual(BLOCKED);
    expect(await upstreamCalls(prompt)).toBe(1);
  });
});

describe("an error about an identifier", () => {
  it.each(["user", "safety_identifier"])("is that of its sender alone: %s", async (name) => {
    const ann = { [name]: "ann" };
    const { ofFirst, ofSecond, calls } = await joined(ann, {}, `reject=${name}`);
    expect(await errorOf(ofFirst)).toEqual([400, "invalid_value", name]);
    expect(ofSecond.status).toBe(200);
    expect(calls).toBe(2);
  });
});

describe("an error about the identifier that the gateway adds", () => {
  const identifies = { SAFETY_IDENTIFIERS: "on" };
  const model = { model: "gpt-image-2", size: "1024x640", quality: "low" };

  it("is that of its caller alone", async () => {
    const rejected = "reject=safety_identifier";
    const other = { user: "bob" };
    const { ofFirst, ofSecond, calls } = await joined(
      model,
      { ...model, ...other },
      rejected,
      identifies,
    );
    expect(await errorOf(ofFirst)).toEqual([400, "invalid_value", "safety_identifier"]);
    expect(ofSecond.status).toBe(200);
    expect(calls).toBe(2);
  });

  it("is no moderation block of the caller: that is remembered for the prompt", async () => {
    const prompt = newPrompt("[upstream status=400 code=moderation_blocked]");
    const body = { ...model, prompt };
    const env = environment(identifies);
    await changeEnvironment(await sharedObject(body), identifies);
    expect(await errorOf(await post(body, {}, env))).toEqual(BLOCKED);
    await deleteObjects();
    expect(await errorOf(await post({ ...body, user: "bob" }, {}, env))).toEqual(BLOCKED);
    expect(await upstreamCalls(prompt)).toBe(1);
  });
});

describe("another error of a request with an identifier", () => {
  it("reaches every request that joined if it names another parameter", async () => {
    const { ofFirst, ofSecond, calls } = await joined({ user: "ann" }, {}, "reject=prompt");
    expect(await errorOf(ofFirst)).toEqual([400, "invalid_value", "prompt"]);
    expect(await errorOf(ofSecond)).toEqual([400, "invalid_value", "prompt"]);
    expect(calls).toBe(1);
  });

  it("reaches every request that joined if it names no parameter and no identifier", async () => {
    const unnamed = "status=400 code=some_code";
    const { ofFirst, ofSecond, calls } = await joined({ user: "ann" }, {}, unnamed);
    expect(await errorOf(ofFirst)).toEqual([400, "some_code", null]);
    expect(await errorOf(ofSecond)).toEqual([400, "some_code", null]);
    expect(calls).toBe(1);
  });
});

describe("requests that join the generation of a rejected sender", () => {
  /**
   * Sends requests, each of which joins the generation of the first one, while the upstream holds every call.
   * Then the upstream rejects each call with a `user`, and generates an image for any other.
   */
  async function sendAll(users: readonly (string | undefined)[], prompt: string) {
    const starts = vi.spyOn(Generation.prototype, "start");
    const responses: Promise<Response>[] = [];
    for (const user of users) {
      responses.push(post({ ...SMALL, prompt, user, response_format: "url" }));
      await eventually(() => expect(starts.mock.calls.length).toBe(responses.length));
    }
    let ended: Response[] | undefined;
    const all = Promise.all(responses).then((each) => (ended = each));
    await eventually(async () => {
      await fetch(releaseUrl(prompt, "reject=user"));
      expect(ended).toBeDefined();
    });
    return all;
  }

  it("start again after each rejected sender, and share one image", async () => {
    const prompt = newPrompt("[upstream hold]");
    const senders = ["ann", "bob", "cas", undefined, undefined, undefined];
    const responses = await sendAll(senders, prompt);
    const statuses = responses.map(({ status }) => status);
    expect(statuses.at(0)).toBe(400);
    expect(statuses.slice(3)).toEqual([200, 200, 200]);
    const bodies = await Promise.all(
      responses.slice(3).map((response) => response.json<{ id: string }>()),
    );
    expect(new Set(bodies.map(({ id }) => id)).size).toBe(1);
  });

  it("never fail because of another sender, however many are rejected", async () => {
    const prompt = newPrompt("[upstream hold]");
    const rejected = ["ann", "bob", "cas", "dan", "eve", "fay", "gus"];
    const responses = await sendAll([...rejected, undefined, undefined], prompt);
    const codes = await Promise.all(responses.slice(0, rejected.length).map(errorOf));
    expect(codes.map(([status, , param]) => [status, param])).toEqual(
      rejected.map(() => [400, "user"]),
    );
    expect(responses.slice(rejected.length).map(({ status }) => status)).toEqual([200, 200]);
    // One for each sender, and one for all requests without an identifier.
    expect(await upstreamCalls(prompt)).toBe(rejected.length + 1);
  });
});

describe("a repeated Idempotency-Key of a request that joined another sender's generation", () => {
  it("starts again with it, and then returns its image", async () => {
    const starts = vi.spyOn(Generation.prototype, "start");
    const prompt = newPrompt("[upstream hold times=1]");
    const ofAnn = post({ ...SMALL, prompt, user: "ann" });
    await eventually(() => expect(starts).toHaveBeenCalledTimes(1));
    const bob = { ...SMALL, prompt, user: "bob", response_format: "url" };
    const key = { "idempotency-key": crypto.randomUUID() };
    const first = post(bob, key);
    await eventually(() => expect(starts).toHaveBeenCalledTimes(2));
    const repeated = post(bob, key);
    await eventually(() => expect(starts).toHaveBeenCalledTimes(3));
    await release(prompt, "block=ann");
    expect(await errorOf(await ofAnn)).toEqual(BLOCKED);
    const responses = [await first, await repeated, await post(bob, key)];
    const bodies = await Promise.all(responses.map((each) => each.json<{ id: string }>()));
    expect(responses.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(new Set(bodies.map(({ id }) => id)).size).toBe(1);
    expect(await upstreamCalls(prompt)).toBe(2);
  });

  it("claims nothing if the other sender's generation completes", async () => {
    const starts = vi.spyOn(Generation.prototype, "start");
    const prompt = newPrompt("[upstream hold times=1]");
    const ofAnn = post({ ...SMALL, prompt, user: "ann", response_format: "url" });
    await eventually(() => expect(starts).toHaveBeenCalledTimes(1));
    const bob = { ...SMALL, prompt, user: "bob", response_format: "url" };
    const key = { "idempotency-key": crypto.randomUUID() };
    const ofBob = post(bob, key);
    await eventually(() => expect(starts).toHaveBeenCalledTimes(2));
    await release(prompt, "delay=0");
    const { id } = await (await ofAnn).json<{ id: string }>();
    expect(await (await ofBob).json()).toMatchObject({ id });
    // Bob paid for nothing, so the key is free for another request.
    expect((await post({ ...SMALL, prompt: newPrompt() }, key)).status).toBe(200);
  });

  it("shares its own generation, which no cache has, whatever the identifiers", async () => {
    const prompt = newPrompt("[upstream hold]");
    const key = { "idempotency-key": crypto.randomUUID(), "cache-control": "no-store" };
    const responses = await Promise.all(
      ["ann", "bob"].map((user) =>
        post({ ...SMALL, prompt, user }, { ...key, prefer: "respond-async" }),
      ),
    );
    const locations = responses.map(({ headers }) => headers.get("location"));
    expect(new Set(locations).size).toBe(1);
    await release(prompt, "delay=0");
    await eventually(async () =>
      expect((await fetchWorker(String(locations[0]))).status).toBe(200),
    );
    expect(await upstreamCalls(prompt)).toBe(1);
  });
});
