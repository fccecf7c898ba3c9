import { vi } from "vitest";

/** Returns a namespace whose objects perform a method, but whose callers never get the result. */
export function hangAfter(objects: DurableObjectNamespace, method: string): DurableObjectNamespace {
  return withMethod(objects, method, async (call) => {
    await call();
    await new Promise<never>(() => undefined);
  });
}

/** Returns a namespace of which the first call of a method fails, as if the object had just been moved. */
export function failOnce(objects: DurableObjectNamespace, method: string): DurableObjectNamespace {
  let hasFailed = false;
  return withMethod(objects, method, (call) => {
    if (hasFailed) return call();
    hasFailed = true;
    return Promise.reject(new Error("the object was moved"));
  });
}

/** Returns a namespace in which a method of each object is called by `wrapped`. */
function withMethod(
  objects: DurableObjectNamespace,
  method: string,
  wrapped: (call: () => Promise<unknown>) => Promise<unknown>,
): DurableObjectNamespace {
  return new Proxy(objects, {
    get(target, name) {
      if (name === "get") return (id: DurableObjectId) => wrappedStub(target.get(id));
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });

  function wrappedStub(stub: DurableObjectStub): DurableObjectStub {
    return new Proxy(stub, {
      get(target, name) {
        if (name !== method) return Reflect.get(target, name);
        return (...args: unknown[]) =>
          wrapped(async () => {
            const call = Reflect.get(target, name) as unknown as (
              ...args: unknown[]
            ) => Promise<unknown>;
            return call(...args);
          });
      },
    });
  }
}

/** How much sooner each limit of a call ends. */
const SPEED = 50;

/** Ends the time limits of calls fifty times as soon. `vi.restoreAllMocks()` restores them. */
export function shortenLimits(): void {
  const platformTimeout = globalThis.setTimeout;
  vi.spyOn(globalThis, "setTimeout").mockImplementation(((work: () => void, ms: number) =>
    platformTimeout(work, ms / SPEED)) as typeof setTimeout);
}
