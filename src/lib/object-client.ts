import type { DurableObject } from "cloudflare:workers";
import { TimedOut, within } from "./within.ts";

/** The RPC methods of a Durable Object class, with the result types that the class declares. */
export type ObjectClient<Class> = {
  [Name in Exclude<keyof Class, keyof DurableObject>]: Class[Name] extends (
    ...args: infer Args
  ) => infer Result
    ? (...args: Args) => Promise<Awaited<Result>>
    : never;
};

/** The time that one call of a Durable Object may take, beside what it waits for by request. */
export const CALL_MS = 20_000;

/** A Durable Object that was just moved or updated responds to the next call. */
export const CALL_ATTEMPTS = 3;
const CALL_PAUSE_MS = 100;

/**
 * Returns a client of a Durable Object, each of whose methods is called by `callObject`.
 *
 * @param limitMs the time that each call may take
 */
export function objectClient<Class extends Rpc.DurableObjectBranded>(
  objects: DurableObjectNamespace<Class>,
  id: DurableObjectId,
  limitMs = CALL_MS,
): ObjectClient<Class> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the client has the methods of the class
  return new Proxy({} as ObjectClient<Class>, {
    get(_, name) {
      // A client is not a promise, although it is awaited where a function returns it.
      if (typeof name === "symbol" || name === "then") return undefined;
      return (...args: unknown[]) =>
        callObject<Class, unknown>(objects, id, (object) => called(object, name, args), limitMs);
    },
  });
}

function called(object: object, name: string, args: readonly unknown[]): Promise<unknown> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a stub has every method
  const methods = object as Record<string, (...args: readonly unknown[]) => Promise<unknown>>;
  const method = methods[name];
  if (method === undefined) throw new TypeError(`no method ${name}`);
  return method(...args);
}

/**
 * Calls a Durable Object, retrying twice, because it may have been moved or restarted mid-call. So every
 * RPC must be idempotent. A call that takes too long is not retried, and neither is an overload error.
 *
 * @param call receives a new stub each time, because a stub fails for good once its object has broken.
 *   `isRetry` is true if an earlier call may have arrived
 * @param limitMs the time that each call may take
 * @throws {TimedOut} if the object does not respond in time; it may still perform the call
 */
export async function callObject<Class extends Rpc.DurableObjectBranded, Result>(
  objects: DurableObjectNamespace<Class>,
  id: DurableObjectId,
  call: (object: ObjectClient<Class>, isRetry: boolean) => Promise<Result>,
  limitMs = CALL_MS,
): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      // The types of `DurableObjectStub` turn tuples into arrays, and results that hold `unknown` into `never`.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a stub has the methods of its class
      const object = objects.get(id) as unknown as ObjectClient<Class>;
      return await within(limitMs, call(object, attempt > 1));
    } catch (error) {
      if (attempt === CALL_ATTEMPTS || !mayRetry(error)) throw error;
    }
    await scheduler.wait(CALL_PAUSE_MS * attempt);
  }
}

function mayRetry(error: unknown): boolean {
  if (error instanceof TimedOut || isNotImplemented(error)) return false;
  return !(error instanceof Error && "overloaded" in error && error.overloaded === true);
}

/**
 * Calls an RPC method that version 0.1.0 does not have. After a deployment, a busy Durable Object can run the
 * previous version for up to 15 minutes.
 *
 * @returns `undefined` if the object does not have the method
 */
export async function ifImplemented<Result>(
  call: () => Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await call();
  } catch (error) {
    if (isNotImplemented(error)) return undefined;
    throw error;
  }
}

function isNotImplemented(error: unknown): boolean {
  return error instanceof TypeError && error.message.includes("does not implement");
}
