import { expect } from "vitest";
import { GatewayError, type Failure } from "../../src/errors/failure.ts";
import { toWire, type WireError } from "../../src/errors/wire.ts";

/** The `type` of most errors about a request, short enough for tables. */
export const IRE = "invalid_request_error";
/** The `type` of errors about an image that a model does not generate. */
export const IGU = "image_generation_user_error";

/** Returns the failure that an action throws. */
export function failureOf(action: () => unknown): Failure {
  try {
    action();
  } catch (error) {
    if (error instanceof GatewayError) return error.failure;
    throw error;
  }
  return expect.fail("nothing was thrown");
}

/** Returns the failure that a promise rejects with. */
export async function rejectionOf(promise: Promise<unknown>): Promise<Failure> {
  const error: unknown = await promise.then(
    () => expect.fail("nothing was thrown"),
    (reason: unknown) => reason,
  );
  if (error instanceof GatewayError) return error.failure;
  throw error;
}

/** Returns a failure as a client receives it, without the message. */
export function wireOf(failure: Failure) {
  const { status, body }: WireError = toWire(failure);
  const { type, param, code } = body.error;
  return { status, type, param, code };
}
