import {
  createExecutionContext,
  env,
  evictDurableObject,
  listDurableObjectIds,
  runInDurableObject,
  waitOnExecutionContext,
} from "cloudflare:test";
import { expect, inject } from "vitest";
import type { Budget } from "../../../src/access/budget.ts";
import { app } from "../../../src/app.ts";
import { configOf, type Config } from "../../../src/config/config.ts";
import { parseImageRequest } from "../../../src/contract/request.ts";
import { requestKey } from "../../../src/generation/key.ts";
import type { IdempotencyKey } from "../../../src/generation/idempotency.ts";
import type { Generation } from "../../../src/generation/object.ts";
import type { Jobs } from "../../../src/jobs/object.ts";
import { eventually } from "../eventually.ts";
import { CLIENTS, kvAt, passKvTime, setKvFault, type KvMethod } from "./edge-kv.ts";
import { VARS } from "../vars.ts";

/** The origin of the gateway in the requests of tests. */
export const ORIGIN = "https://gateway.example";
/** The headers of a request of the admin. */
export const ADMIN = { authorization: `Bearer ${VARS.ADMIN_KEY}` };

interface Bindings {
  CACHE: KVNamespace;
  GENERATION: DurableObjectNamespace<Generation>;
  IDEMPOTENCY: DurableObjectNamespace<IdempotencyKey>;
  BUDGET: DurableObjectNamespace<Budget>;
  JOBS: DurableObjectNamespace<Jobs>;
  IMAGE_JOB: Workflow;
}

/**
 * The environment of the Worker: real objects, KV as a location of the platform sees it, the simulated
 * upstream; and what a test sets.
 */
export function environment(vars: Record<string, unknown> = {}): object {
  return { ...env, CACHE: kvAt(CLIENTS), ...vars };
}

/** Returns the configuration of such an environment. */
export function testConfig(vars: Record<string, unknown> = {}): Config {
  return configOf(environment(vars));
}

/** The Worker's objects, and its KV namespace as it is stored: every write shows at once. */
export function bindings(): Bindings {
  return env as unknown as Bindings;
}

/** Answers a request as the deployed Worker does, and waits for what it leaves running. */
export async function answer(request: Request, environment: object): Promise<Response> {
  const context = createExecutionContext();
  const response = await app.fetch(request, environment, context);
  // The body is written while it is read.
  const whole = new Response(
    response.body === null ? null : await response.arrayBuffer(),
    response,
  );
  await waitOnExecutionContext(context);
  return whole;
}

/** What a test reads of an error: status, code and param. */
export async function errorOf(response: Response) {
  const { error } = await response.json<{ error: { code: string; param: string | null } }>();
  return [response.status, error.code, error.param];
}

/** A POST of a JSON body to the generations. */
export function generationRequest(
  body: unknown,
  headers: Record<string, string> = {},
): Request<unknown, IncomingRequestCfProperties> {
  return new Request(`${ORIGIN}/v1/images/generations`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
}

/** How many requests for this prompt the upstream got. */
export async function upstreamCalls(prompt: string): Promise<number> {
  const url = new URL("/received", inject("upstreamUrl"));
  url.searchParams.set("prompt", prompt);
  const response = await fetch(url);
  return (await response.json<{ count: number }>()).count;
}

/** The key of a request. */
export function keyOf(body: unknown): Promise<string> {
  const config = configOf(environment());
  return requestKey(parseImageRequest(body, config, Date.now()), config.upstream.baseUrl);
}

/** The object that everybody shares who asks for this. */
export async function sharedObject(body: unknown): Promise<DurableObjectStub<Generation>> {
  const objects = bindings().GENERATION;
  return objects.get(objects.idFromName(await keyOf(body)));
}

/** Waits until the objects have copied what they made to KV, so many generations. */
export async function copied(generations = 1): Promise<void> {
  await eventually(async () => {
    const { keys } = await bindings().CACHE.list({ prefix: "generation/" });
    expect(keys).toHaveLength(generations);
    // Written last, and one for all generations of a request.
    const found = await bindings().CACHE.list({ prefix: "request/" });
    expect(found.keys.length).toBeGreaterThan(0);
  });
}

/** Has the objects delete everything, as they do after ten minutes. */
export async function forgetObjects(): Promise<void> {
  passKvTime(10 * 60);
  const objects = bindings().GENERATION;
  for (const id of await listDurableObjectIds(objects)) {
    const object = objects.get(id);
    await runInDurableObject(object, async (_, state) => {
      await state.storage.deleteAlarm();
      await state.storage.deleteAll();
    });
    await evictDurableObject(object);
  }
}

/** Makes everything in KV older, and lets every location see that. */
export async function ageCache(seconds: number): Promise<void> {
  passKvTime(60);
  const kv = bindings().CACHE;
  for (const prefix of ["request/", "generation/"]) {
    for (const { name, metadata } of (await kv.list({ prefix })).keys) {
      const record = await kv.get<{ created: number }>(name, "json");
      const older = { ...record, created: Number(record?.created) - seconds };
      await kv.put(name, JSON.stringify(older), { metadata });
    }
  }
}

/** The KV namespace as a location sees it in which one of its methods fails. */
export function failingKv(method: KvMethod): KVNamespace {
  const location = `where ${method} fails`;
  setKvFault(location, method, "fails");
  return kvAt(location);
}

/** Puts something else into an object's environment. */
export async function changeEnvironment(
  object: DurableObjectStub<Generation>,
  vars: Record<string, unknown>,
): Promise<void> {
  await runInDurableObject(object, (instance) => {
    Reflect.set(instance, "env", environment(vars));
  });
}
