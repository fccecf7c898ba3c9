import { describe, expect, it } from "vitest";
import * as z from "zod";

/** A variable specifier, because TypeScript has no declarations of a JavaScript module. */
const ALIAS = "../../../../scripts/build/zod.js";
const alias = (await import(ALIAS)) as Record<string, unknown>;
const original: Record<string, unknown> = z;

const sources = import.meta.glob<string>("../../../../src/**/*.ts", {
  eager: true,
  import: "default",
  query: "?raw",
});

/** Members of `z` that are types only. */
const TYPES = new Set(["core", "infer", "output", "RefinementCtx"]);

const used = Object.values(sources).flatMap((source) =>
  [...source.matchAll(/\bz\.(\w+)/g)].flatMap(([, name]) => name ?? []),
);
const values = [...new Set(used)].filter((name) => !TYPES.has(name));

describe("the zod alias of the bundle", () => {
  it("is tested with the members of z that src uses", () => {
    expect(values).toEqual(expect.arrayContaining(["object", "strictObject", "union"]));
  });

  it.each(values)("exports z.%s, the same as the package", (name) => {
    expect(alias[name]).toBeDefined();
    expect(alias[name]).toBe(original[name]);
  });

  it("is imported as a namespace, because it has no export `z`", () => {
    const named = Object.entries(sources)
      .filter(([, source]) => /import (?:type )?\{[^}]*\} from "zod"/.test(source))
      .map(([path]) => path);
    expect(named).toEqual([]);
    expect(alias["z"]).toBeUndefined();
  });

  it("leaves out the error messages of the locales", () => {
    expect(original["locales"]).toBeDefined();
    expect(alias["locales"]).toBeUndefined();
  });
});
