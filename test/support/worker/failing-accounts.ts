let areDown = false;

/** Makes every call of a Budget object fail, as if the object were unreachable. */
export function failAccounts(isOn: boolean): void {
  areDown = isOn;
}

/** Wraps the namespace of the Budget objects, so that `failAccounts` makes their calls fail. */
export function failingOnDemand(accounts: DurableObjectNamespace): DurableObjectNamespace {
  return new Proxy(accounts, {
    get(target, name) {
      if (name === "get") return (id: DurableObjectId) => stubOf(target.get(id));
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function stubOf(stub: DurableObjectStub): DurableObjectStub {
  return new Proxy(stub, {
    get(target, name) {
      if (areDown) return () => Promise.reject(new Error("the account cannot be reached"));
      return Reflect.get(target, name);
    },
  });
}
