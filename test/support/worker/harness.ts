import {
  createExecutionContext,
  env,
  evictDurableObject,
  listDurableObjectIds,
  runInDurableObject,
  waitOnExecutionContext,
} from "cloudflare:test";
import { expect, inject } from "vitest";
import { app } from "../../../src/app.ts";
import { configOf, type Config } from "../../../src/config/environment.ts";
import type { Generation } from "../../../src/generation/object.ts";
import { WITHOUT_WAITING } from "../../../src/generation/protocol.ts";
import { eventually } from "../eventually.ts";
import { requestKeyOf } from "../request-key.ts";
import { CLIENTS, kvAt, passKvTime, setKvFault, type KvMethod } from "./edge-kv.ts";
import { VARS } from "../vars.ts";

/** The origin of the gateway in the requests of tests. */
export const ORIGIN = "https://gateway.example";
/** The headers of a request of the admin. */
export const ADMIN = { authorization: `Bearer ${VARS.ADMIN_KEY}` };

/**
 * Returns the environment of the Worker: real objects, KV as one location of the platform sees it, the
 * simulator as the upstream, and `vars`.
 */
export function environment(vars: Record<string, unknown> = {}): object {
  return { ...env, CACHE: kvAt(CLIENTS), ...vars };
}

/** Returns the configuration of such an environment. */
export function testConfig(vars: Record<string, unknown> = {}): Config {
  return configOf(environment(vars));
}

/** Returns the Worker's bindings. This KV namespace is the central one: every write is visible at once. */
export function bindings(): Cloudflare.Env {
  return env;
}

/** Sends a request to the Worker. Returns the response after all that it passed to `waitUntil`. */
export async function callWorker(request: Request, environment: object): Promise<Response> {
  const context = createExecutionContext();
  const response = await app.fetch(request, environment, context);
  // The Worker writes the body while it is read.
  const whole = new Response(
    response.body === null ? null : await response.arrayBuffer(),
    response,
  );
  await waitOnExecutionContext(context);
  return whole;
}

/**
 * Sends a request to the Worker.
 *
 * @param url absolute, or a path of the gateway
 */
export function fetchWorker(
  url: string,
  env = environment(),
  init: RequestInit = {},
): Promise<Response> {
  const request = new Request(
    URL.canParse(url) ? url : `${ORIGIN}${url}`,
    init as RequestInit<IncomingRequestCfProperties>,
  );
  return callWorker(request, env);
}

/** Sends a JSON body to `/v1/images/generations`. */
export function post(
  body: unknown,
  headers: Record<string, string> = {},
  env = environment(),
): Promise<Response> {
  return callWorker(generationRequest(body, headers), env);
}

/** Returns the status, code and param of an error. */
export async function errorOf(response: Response) {
  const { error } = await response.json<{ error: { code: string; param: string | null } }>();
  return [response.status, error.code, error.param];
}

/** Returns a POST of a JSON body to `/v1/images/generations`. */
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

/** Returns how many requests for a prompt the upstream received. */
export async function upstreamCalls(prompt: string): Promise<number> {
  const url = new URL("/received", inject("upstreamUrl"));
  url.searchParams.set("prompt", prompt);
  const response = await fetch(url);
  return (await response.json<{ count: number }>()).count;
}

/** Returns the cache key of a request. */
export function keyOf(body: unknown): Promise<string> {
  return requestKeyOf(body, testConfig());
}

/** Returns the Generation object that all requests with this body share. */
export async function sharedObject(body: unknown): Promise<DurableObjectStub<Generation>> {
  const objects = bindings().GENERATION;
  return objects.get(objects.idFromName(await keyOf(body)));
}

/** Waits until the shared object of a body has deleted a generation. */
export async function forgotten(body: unknown, id: string): Promise<void> {
  const object = await sharedObject(body);
  await eventually(async () => expect(await object.progress(id, WITHOUT_WAITING)).toBeUndefined());
}

/** Waits until the objects have copied this number of generations to KV. */
export async function copied(generations = 1): Promise<void> {
  await eventually(async () => {
    const { keys } = await bindings().CACHE.list({ prefix: "generation/" });
    expect(keys).toHaveLength(generations);
    // Written last, and only once for all generations of a request.
    const pointers = await bindings().CACHE.list({ prefix: "request/" });
    expect(pointers.keys.length).toBeGreaterThan(0);
  });
}

/** Deletes the state of all Generation objects, as they do after ten minutes. */
export async function deleteObjects(): Promise<void> {
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

/** Sets the creation time of every record in KV back, and expires the cached reads of all locations. */
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

/** Returns the KV namespace as seen by a location in which one method fails. */
export function failingKv(method: KvMethod): KVNamespace {
  const location = `where ${method} fails`;
  setKvFault(location, method, "fails");
  return kvAt(location);
}

/** Replaces an object's environment. */
export async function changeEnvironment(
  object: DurableObjectStub<Generation>,
  vars: Record<string, unknown>,
): Promise<void> {
  await runInDurableObject(object, (instance) => {
    Reflect.set(instance, "env", environment(vars));
  });
}
