let areDown = false;

/** Has every call of an account fail, as an object of the platform does that cannot be reached. */
export function failAccounts(isOn: boolean): void {
  areDown = isOn;
}

/** Returns the accounts' namespace, whose objects fail while a test says so. */
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
