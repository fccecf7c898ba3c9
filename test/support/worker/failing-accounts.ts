import { hang } from "./held-limits.ts";

let fault: "fails" | "hangs" | undefined;

/** Makes every call of a Budget object fail, as if the object were unreachable. */
export function failAccounts(isOn: boolean): void {
  fault = isOn ? "fails" : undefined;
}

/** Makes every call of a Budget object hang, until `failAccounts(false)`. */
export function hangAccounts(): void {
  fault = "hangs";
}

/** Wraps the namespace of the Budget objects, so that their calls fail or hang on demand. */
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
      if (fault === "hangs") return () => hang();
      if (fault === "fails") {
        return () => Promise.reject(new Error("the account cannot be reached"));
      }
      return Reflect.get(target, name);
    },
  });
}
