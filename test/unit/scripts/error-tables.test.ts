import { describe, expect, it } from "vitest";
import { missingTables, sdkRetries, withErrorTables } from "../../../scripts/error-tables.ts";

describe("the SDK retries of an error", () => {
  it.each([
    [400, {}, "no"],
    [404, { "retry-after": "5" }, "no"],
    [408, {}, "yes"],
    [409, {}, "yes"],
    [429, { "retry-after": "5" }, "yes, after `Retry-After`"],
    [429, { "retry-after": "5", "x-should-retry": "false" }, "no, `x-should-retry: false`"],
    [500, {}, "yes"],
    [504, { "x-should-retry": "false" }, "no, `x-should-retry: false`"],
  ])("with status %d and headers %o are: %s", (status, headers, retries) => {
    expect(sdkRetries({ status, headers })).toBe(retries);
  });
});

describe("the generated tables", () => {
  const text = "before\n<!-- errors: jobs -->\nold\n<!-- end -->\nafter\n";

  it("replace only the text between their comments", () => {
    const generated = withErrorTables(text);
    expect(generated).toMatch(
      /^before\n<!-- errors: jobs -->\n\n\| code .*\n<!-- end -->\nafter\n$/s,
    );
    expect(generated).not.toContain("old");
    expect(withErrorTables(generated)).toBe(generated);
  });

  it("show one wire code with each of its causes", () => {
    const rows = withErrorTables(text)
      .split("\n")
      .filter((line) => line.startsWith("| `invalid_signature` | 401 |"));
    expect(rows).toHaveLength(3);
  });

  it("name the sections that a text has no place for", () => {
    expect(missingTables(text)).not.toContain("jobs");
    expect(missingTables(text)).toContain("request");
  });
});
