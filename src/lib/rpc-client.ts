import type { DurableObject } from "cloudflare:workers";

/** The RPC methods of a Durable Object class, with the result types that the class declares. */
export type RpcClient<Class> = {
  [Name in Exclude<keyof Class, keyof DurableObject>]: Class[Name] extends (
    ...args: infer Args
  ) => infer Result
    ? (...args: Args) => Promise<Awaited<Result>>
    : never;
};

/**
 * Returns a stub with the types of its class. The types of `DurableObjectStub` turn tuples into arrays,
 * and results that hold `unknown` into `never`.
 */
export function rpcClient<Class extends Rpc.DurableObjectBranded>(
  stub: DurableObjectStub<Class>,
): RpcClient<Class> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a stub has the methods of its class
  return stub as unknown as RpcClient<Class>;
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
    if (error instanceof TypeError && error.message.includes("does not implement")) {
      return undefined;
    }
    throw error;
  }
}
