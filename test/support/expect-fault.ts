import { expect } from "vitest";
import { eventually } from "./eventually.ts";
import { UPSTREAM_KEY } from "./gateway.ts";
import { read, type ErrorBody, type Stage } from "./stage.ts";
import { newPrompt, SMALL_BASE64 } from "./bodies.ts";

/** A fault of the upstream, and the response that the client must receive. */
export interface Fault {
  name: string;
  /** Directives for the simulator. `times` is added, so that the next request succeeds. */
  directives: string;
  status: number;
  code?: string;
  /** A part of the error message. */
  message?: string;
  /** The number of upstream calls for the one request; default: 1. */
  calls?: number;
  /** True if an SDK may retry: only if no image was generated. */
  retryable?: boolean;
  retryAfter?: string;
}

/** Part of the prompts of fault tests. It must appear in no log and in no error. */
export const PRIVATE_TEXT = "a text that must stay private";

/** Causes a fault of the upstream. Checks the response, KV, the log, and that the next request succeeds. */
export async function expectFault(stage: Stage, fault: Fault): Promise<void> {
  const calls = fault.calls ?? 1;
  const prompt = newPrompt(`${PRIVATE_TEXT} [upstream times=${calls} ${fault.directives}]`);
  const body = { ...SMALL_BASE64, prompt };
  const before = await keysOf(stage);

  const response = await stage.post(body);
  expect(response.status).toBe(fault.status);
  expect(stage.upstream.received(prompt)).toHaveLength(calls);
  if (fault.status === 200) {
    const { data } = await read(response);
    expect(data[0]?.b64_json).toMatch(/^iVBORw0KGgo/);
  } else {
    await expectError(response, fault);
    expect(await keysOf(stage)).toEqual(before);
  }

  const next = await stage.post(body);
  expect(next.status).toBe(200);
  const { id } = await read(next);
  await eventually(async () => expect(await keysOf(stage)).toContain(`generation/${id}`));
  expectCleanLogs(stage);
}

async function expectError(response: Response, fault: Fault): Promise<void> {
  const { error } = await read<ErrorBody>(response);
  expect(Object.keys(error).toSorted()).toEqual(["code", "message", "param", "type"]);
  expect(error.code).toBe(fault.code);
  expect(error.message).toContain(fault.message ?? "");
  expect(JSON.stringify(error)).not.toContain(PRIVATE_TEXT);
  expect(JSON.stringify(error)).not.toContain(UPSTREAM_KEY);
  const isFinal = response.headers.get("x-should-retry") === "false";
  expect(isFinal).toBe(fault.retryable !== true);
  expect(response.headers.get("retry-after")).toBe(fault.retryAfter ?? null);
}

/** Fails if a line of the log holds a prompt, a key or an image. */
export function expectCleanLogs(stage: Stage): void {
  const logs = stage.gateway.logs();
  expect(logs).toContain('"event":"request"');
  for (const secret of [PRIVATE_TEXT, UPSTREAM_KEY, "iVBORw0KGgo", "PHN2Zw"]) {
    expect(logs).not.toContain(secret);
  }
}

/** Returns every key in KV. */
export async function keysOf(stage: Stage): Promise<string[]> {
  const { keys } = await stage.gateway.cache.list();
  return keys.map((key) => key.name);
}
