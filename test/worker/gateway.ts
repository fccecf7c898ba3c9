import { createExecutionContext, env, waitOnExecutionContext } from "cloudflare:test";
import { inject } from "vitest";
import { app } from "../../src/app.ts";

/** An environment of the Worker: real KV, the simulated upstream, and what a test sets on top. */
export function environment(vars: Record<string, unknown> = {}): object {
  return {
    ...env,
    LOCAL_DEVELOPMENT: "true",
    UPSTREAM_API_KEY: "sk-test",
    UPSTREAM_BASE_URL: inject("upstreamUrl"),
    ...vars,
  };
}

/** The Worker's KV namespace. */
export function kv(): KVNamespace {
  const namespace: unknown = Reflect.get(env, "CACHE");
  return namespace as KVNamespace;
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

/** A POST of a JSON body to the generations. */
export function generationRequest(
  body: unknown,
  headers: Record<string, string> = {},
): Request<unknown, IncomingRequestCfProperties> {
  return new Request("https://gateway.example/v1/images/generations", {
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
