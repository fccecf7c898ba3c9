import type { Failure } from "./failure.ts";
import type { Code, FailureByCode, OwnRow, Row, WireError } from "./wire/row.ts";
import { ROWS } from "./wire/rows.ts";

export type { WireError };

/** Returns the wire form of a failure. This is the only translation. */
export function toWire(failure: Failure): WireError {
  return wireOf(failure.code, failure);
}

/** Returns the wire form of a failure's first example. */
export function exampleOf(code: Code): WireError {
  const [{ example }] = ROWS[code].causes;
  return toWire(example);
}

function wireOf<C extends Code>(code: C, failure: FailureByCode[C]): WireError {
  const row: Row<FailureByCode[C]> = ROWS[code];
  if ("wire" in row) return row.wire(failure, toWire);
  const details = row.details?.(failure);
  const error = {
    message: typeof row.message === "string" ? row.message : row.message(failure),
    type: row.type,
    param: paramOf(row, failure),
    code: row.code ?? code,
  };
  return {
    status: row.status,
    headers: row.headers?.(failure) ?? {},
    body: { error: details === undefined ? error : { ...error, moderation_details: details } },
  };
}

function paramOf<F extends Failure>({ param }: OwnRow<F>, failure: F): string | null {
  if (param === undefined) return "param" in failure ? failure.param : null;
  return typeof param === "string" ? param : param(failure);
}
