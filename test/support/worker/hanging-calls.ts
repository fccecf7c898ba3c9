/** Returns a namespace whose objects perform a method, but whose callers never get the result. */
export function hangAfter(objects: DurableObjectNamespace, method: string): DurableObjectNamespace {
  return new Proxy(objects, {
    get(target, name) {
      if (name === "get") return (id: DurableObjectId) => hangingStub(target.get(id), method);
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function hangingStub(stub: DurableObjectStub, method: string): DurableObjectStub {
  return new Proxy(stub, {
    get(target, name) {
      if (name !== method) return Reflect.get(target, name);
      return async (...args: unknown[]) => {
        const call = Reflect.get(target, name) as unknown as (...args: unknown[]) => unknown;
        await call(...args);
        await new Promise<never>(() => undefined);
      };
    },
  });
}
