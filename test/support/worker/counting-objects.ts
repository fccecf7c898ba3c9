import type { Budget } from "../../../src/access/budget.ts";
import type { UsageRow, UsageWrite } from "../../../src/access/usage.ts";
import type { Config } from "../../../src/config/environment.ts";

/** A fault of a call that writes counts. `unconfirmed`: the object writes, and the response is lost. */
export type WriteFault = "none" | "refused" | "unconfirmed";

/** A call that writes counts. */
export interface CountCall {
  /** The name of the object. */
  object: string;
  rows: readonly UsageRow[];
}

interface Options {
  /** Returns the fault of the next write. It may delay the write. */
  faultOf?: () => WriteFault | Promise<WriteFault>;
  /** The objects whose usage cannot be read. */
  unreadable?: (object: string) => boolean;
  /** A prefix of all names: another gateway has objects of its own. */
  prefix?: string;
  calls?: CountCall[];
}

/** Wraps the namespace of the Budget objects: records the writes of counts, and makes calls fail. */
export function countingObjects(
  budgets: Config["budgets"],
  { faultOf = () => "none", unreadable = () => false, prefix = "", calls = [] }: Options,
): Config["budgets"] {
  const names = new Map<string, string>();
  return new Proxy(budgets, {
    get(target, property) {
      if (property === "idFromName") {
        return (name: string) => {
          const id = target.idFromName(prefix + name);
          names.set(id.toString(), name);
          return id;
        };
      }
      if (property === "get") {
        return (id: DurableObjectId) => {
          const object = String(names.get(id.toString()));
          return new Proxy(target.get(id), {
            get: (stub, method) => {
              if (method === "count") return counting(stub, object, faultOf, calls);
              if (method === "usage" && unreadable(object)) {
                return () => Promise.reject(new Error("the object is unreachable"));
              }
              return Reflect.get(stub, method) as unknown;
            },
          });
        };
      }
      const value: unknown = Reflect.get(target, property);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function counting(
  stub: DurableObjectStub<Budget>,
  object: string,
  faultOf: () => WriteFault | Promise<WriteFault>,
  calls: CountCall[],
) {
  return async (rows: readonly UsageRow[], write: UsageWrite): Promise<void> => {
    calls.push({ object, rows });
    const fault = await faultOf();
    if (fault === "refused") throw new Error("the object is unreachable");
    await stub.count(rows, write);
    if (fault === "unconfirmed") throw new Error("the connection was lost");
  };
}
