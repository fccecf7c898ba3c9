import { describe, expect, it } from "vitest";
import { exampleOf, toWire } from "../../../../src/errors/wire.ts";
import type { Cause, Code } from "../../../../src/errors/wire/row.ts";
import type { Failure } from "../../../../src/errors/failure.ts";
import { FAMILIES, ROWS } from "../../../../src/errors/wire/rows.ts";
import { parseJson } from "../../../../src/http/json-body.ts";
import { failureOf } from "../../../support/failures.ts";

const ENTRIES = FAMILIES.flatMap(({ rows }) => Object.entries(rows));
const CAUSES: [string, Cause<Failure>][] = ENTRIES.flatMap(([code, row]) =>
  row.causes.map((cause): [string, Cause<Failure>] => [code, cause]),
);

describe("the rows of the errors", () => {
  it("are in exactly one family each", () => {
    expect(ENTRIES.map(([code]) => code).toSorted()).toEqual(Object.keys(ROWS).toSorted());
  });

  it.each(CAUSES)("%s has an example of its own code: %o", (code, { example }) => {
    expect(example.code).toBe(code);
  });

  it.each(CAUSES)("%s documents a cause and a fix in sentences that fit a table: %o", (_, row) => {
    for (const text of [row.cause, row.fix]) expect(text).toMatch(/^[^|\n]+\.$/);
  });

  it.each(CAUSES)("%s has a short message of whole sentences: %o", (_, { example }) => {
    expect(toWire(example).body.error.message).toMatch(/^[^\n]{3,200}[^.]\.$/);
  });

  it.each(Object.keys(ROWS) as Code[])("%s uses its first cause as the example", (code) => {
    expect(exampleOf(code)).toEqual(toWire(ROWS[code].causes[0].example));
  });
});

describe("the message of a body that is nested too deeply", () => {
  const nested = (depth: number) => new TextEncoder().encode("[".repeat(depth) + "]".repeat(depth));

  it("names the limit that the parser applies", () => {
    expect(parseJson(nested(16))).toBeInstanceOf(Array);
    const failure = failureOf(() => parseJson(nested(17)));
    expect(toWire(failure).body.error.message).toContain("At most 16 levels");
  });
});
