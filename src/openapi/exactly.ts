import type * as z from "zod";

/**
 * Returns a schema unchanged. It compiles only if the schema's output is exactly the type `View`, so
 * that the document describes the responses that the Worker sends.
 */
export function exactly<View>() {
  return <Schema extends z.ZodType>(
    schema: Schema & (IsSame<z.output<Schema>, View> extends true ? unknown : never),
  ): Schema => schema;
}

/**
 * True if two types are identical. Unlike mutual assignability, this includes optional fields: the
 * compiler compares the operands of two unresolved conditional types for identity.
 */
type IsSame<A, B> =
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- T keeps the types unresolved
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
