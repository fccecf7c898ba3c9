import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isSvg } from "../../../src/lib/svg.ts";

const SVG = '<svg xmlns="http://www.w3.org/2000/svg"/>';
const KIB = 1024;

/** Text that looks like markup to a reader that does not skip it. U+3C3E has the bytes of `<>` in UTF-16. */
const misleading = fc.string({
  unit: fc.constantFrom(
    ..."< > [ ] \" ' ? - ! % é \u3C3E <svg <html> <!DOCTYPE <!-- --> ?>".split(" "),
    " ",
    "\n",
  ),
});

/** The productions of XML 1.0 that may stand before the root element, by their names there. */
const space = fc.string({ unit: fc.constantFrom(" ", "\t", "\r", "\n"), minLength: 1 });
const comment = misleading.map((text) => `<!--${text.replaceAll("-", "- ")}-->`);
const instruction = misleading.map((text) => `<?editor ${text.replaceAll("?>", "? >")}?>`);
const literal = fc
  .tuple(misleading, fc.constantFrom('"', "'"))
  .map(([text, quote]) => quote + text.replaceAll(quote, "") + quote);
const markupDeclaration = fc.oneof(
  literal.map((value) => `<!ENTITY ns_svg ${value}>`),
  literal.map((value) => `<!ENTITY % part SYSTEM ${value}>%part;`),
  literal.map((value) => `<!ATTLIST svg title CDATA ${value}>`),
  fc.constant("<!ELEMENT svg (g | path)*>"),
  fc.constant('<!NOTATION gif PUBLIC "gif">'),
);
const internalSubset = joined(fc.oneof(markupDeclaration, comment, instruction, space));
const documentType = fc
  .record({
    name: fc.constantFrom("svg", "svg:svg", "html"),
    externalId: fc.oneof(
      fc.constant(""),
      literal.map((system) => ` SYSTEM ${system}`),
      literal.map((system) => ` PUBLIC "-//W3C//DTD SVG 1.1//EN"\n${system}`),
    ),
    subset: fc.oneof(
      fc.constant(""),
      internalSubset.map((text) => ` [${text}] `),
    ),
  })
  .map(({ name, externalId, subset }) => `<!DOCTYPE ${name}${externalId}${subset}>`);
const misc = joined(fc.oneof(comment, instruction, space));
const prolog = fc
  .tuple(
    fc.constantFrom("", '<?xml version="1.0"?>'),
    misc,
    fc.oneof(fc.constant(""), documentType),
    misc,
  )
  .map((parts) => parts.join(""));

const encode = fc.constantFrom(
  (text: string) => Buffer.from(text),
  (text: string) => Buffer.from(`\uFEFF${text}`),
  (text: string) => Buffer.from(`\uFEFF${text}`, "utf16le"),
  (text: string) => Buffer.from(`\uFEFF${text}`, "utf16le").swap16(),
);

function joined(unit: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.string({ unit, maxLength: 5 });
}

describe("isSvg", () => {
  it("returns true for any prolog before a root element `svg`, in UTF-8 and UTF-16", () => {
    const root = fc.constantFrom(SVG, "<svg>", "<svg\nid='a'>", '<a:svg xmlns:a="b">', "<é:svg/>");
    fc.assert(
      fc.property(prolog, root, encode, (before, element, encoded) => {
        expect(isSvg(encoded(before + element))).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it("returns false for any prolog before another root element", () => {
    const root = fc.constantFrom("<html>", "<svgx/>", "<xsvg/>", "<SVG>", "<svg:g>", "<svg.x/>");
    fc.assert(
      fc.property(prolog, root, encode, (before, element, encoded) => {
        expect(isSvg(encoded(before + element + SVG))).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  it("returns false for a document that ends before its root element", () => {
    fc.assert(
      fc.property(prolog, fc.nat(), encode, (before, length, encoded) => {
        expect(isSvg(encoded(before.slice(0, length % (before.length + 1))))).toBe(false);
      }),
    );
  });

  it.each([
    ["text", `text ${SVG}`],
    ["a literal", `"" ${SVG}`],
    ["a declaration other than DOCTYPE", `<!ENTITY a ""> ${SVG}`],
    ["a doctype of HTML", `<!doctype html> ${SVG}`],
    ["UTF-16 without a byte order mark", Buffer.from(SVG, "utf16le")],
  ])("returns false for %s before the root element", (_, document) => {
    expect(isSvg(Buffer.from(document))).toBe(false);
  });

  it("reads the first MiB", () => {
    const after = (bytes: number) => Buffer.from(`<!--${"x".repeat(bytes - 7)}-->${SVG}`);
    expect(isSvg(after(1023 * KIB))).toBe(true);
    expect(isSvg(after(1024 * KIB))).toBe(false);
  });
});
