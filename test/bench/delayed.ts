/** The delay before each call of a kind of binding, in milliseconds. */
export interface Delays {
  /** Every method of a KV namespace. */
  kv: number;
  /** Every RPC of a Durable Object. */
  objects: number;
  /** Every `limit()` of a rate limit. */
  rateLimits: number;
}

/** The path that sets the delays of a delayed Worker, with `Delays` as its query. */
const DELAYS_PATH = "/test-delays";

const CLASSES = ["Generation", "IdempotencyKey", "Budget", "Revocations", "Jobs", "ImageJob"];

/**
 * Returns the source of an entry module that delays every call of KV, of a Durable Object and of a rate
 * limit, by the times that `setDelays` sets. The fetch handler, every Durable Object class and the Workflow
 * class get the delayed bindings.
 *
 * @param bundle the module name of the bundle
 */
export function delayedWorker(bundle: string): string {
  return `
    import worker, * as classes from "./${bundle}";

    const delays = { kv: 0, objects: 0, rateLimits: 0 };

    const delayed = (target, kind) =>
      new Proxy(target, {
        get(_, name) {
          if (typeof target[name] !== "function") return target[name];
          return async (...values) => {
            if (delays[kind] > 0) await scheduler.wait(delays[kind]);
            return target[name](...values);
          };
        },
      });

    const delayedObjects = (namespace) =>
      new Proxy(namespace, {
        get(_, name) {
          const value = namespace[name];
          if (typeof value !== "function") return value;
          if (name !== "get" && name !== "getByName") return value.bind(namespace);
          return (...values) => delayed(namespace[name](...values), "objects");
        },
      });

    function delayedBinding(binding) {
      if (typeof binding !== "object" || binding === null) return binding;
      if ("getWithMetadata" in binding) return delayed(binding, "kv");
      if ("idFromName" in binding) return delayedObjects(binding);
      if ("limit" in binding) return delayed(binding, "rateLimits");
      return binding;
    }

    // The Worker parses each environment once, so each is wrapped once.
    const environments = new WeakMap();

    function delayedEnv(env) {
      const known = environments.get(env);
      if (known !== undefined) return known;
      const wrapped = Object.fromEntries(
        Object.entries(env).map(([name, binding]) => [name, delayedBinding(binding)]),
      );
      environments.set(env, wrapped);
      return wrapped;
    }

    ${CLASSES.map(
      (name) => `export class ${name} extends classes.${name} {
        constructor(ctx, env) {
          super(ctx, delayedEnv(env));
        }
      }`,
    ).join("\n")}

    export default {
      fetch(request, env, ctx) {
        const { pathname, searchParams } = new URL(request.url);
        if (pathname !== "${DELAYS_PATH}") return worker.fetch(request, delayedEnv(env), ctx);
        for (const kind of Object.keys(delays)) delays[kind] = Number(searchParams.get(kind));
        return new Response(null, { status: 204 });
      },
    };
  `;
}

/**
 * Sets the delays of a gateway that was started with `delayedWorker`.
 *
 * @param gatewayUrl without a trailing slash
 */
export async function setDelays(
  gatewayUrl: string,
  { kv, objects, rateLimits }: Delays,
): Promise<void> {
  const query = `kv=${kv}&objects=${objects}&rateLimits=${rateLimits}`;
  const { status } = await fetch(`${gatewayUrl}${DELAYS_PATH}?${query}`);
  if (status !== 204) throw new Error("the gateway was started without delays");
}
