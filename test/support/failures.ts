import { expect } from "vitest";
import { GatewayError, type Failure } from "../../src/errors/failure.ts";
import { toWire, type WireError } from "../../src/errors/wire.ts";

/** The failure that an action throws. */
export function failureOf(action: () => unknown): Failure {
  try {
    action();
  } catch (error) {
    if (error instanceof GatewayError) return error.failure;
    throw error;
  }
  return expect.fail("nothing was thrown");
}

/** What a failure is on the wire, without its words. */
export function wireOf(failure: Failure) {
  const { status, body }: WireError = toWire(failure);
  const { type, param, code } = body.error;
  return { status, type, param, code };
}
