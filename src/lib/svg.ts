/**
 * The bytes that are searched for the root element. An editor's entities and metadata have tens of KiB. The
 * bound limits the time for a large response that is not SVG.
 */
const PROLOG_MAX_BYTES = 1024 * 1024;

/** The start and the end of a part in which other delimiters are text. */
type Span = readonly [start: string, end: string];

/** Comments and processing instructions (XML 1.0, 2.5 and 2.6). The XML declaration looks like the latter. */
const MISC: readonly Span[] = [
  ["<!--", "-->"],
  ["<?", "?>"],
];

/** A document type declaration also contains literals (2.3). */
const IN_DOCTYPE: readonly Span[] = [...MISC, ['"', '"'], ["'", "'"]];

/** The start of an element `svg`, with or without a prefix (Namespaces in XML 1.0, 4). */
const SVG_TAG = /^<(?:[^ \t\r\n<>/:]+:)?svg[ \t\r\n/>]/;

/**
 * Returns true if the root element of an XML document is `svg`, whatever its prolog contains (XML 1.0, 2.8).
 * Reads no further, so the document may be malformed.
 */
export function isSvg(bytes: Uint8Array): boolean {
  // The decoder removes a byte order mark.
  const head = new TextDecoder(encodingOf(bytes)).decode(bytes.subarray(0, PROLOG_MAX_BYTES));
  // The number of open declarations: the document type declaration, and one in its internal subset.
  let depth = 0;
  let offset = 0;
  while (offset < head.length) {
    const spans = depth === 0 ? MISC : IN_DOCTYPE;
    const span = spans.find(([start]) => head.startsWith(start, offset));
    if (span !== undefined) {
      const [start, end] = span;
      const endOffset = head.indexOf(end, offset + start.length);
      if (endOffset < 0) return false;
      offset = endOffset + end.length;
      continue;
    }
    if (head.startsWith(depth === 0 ? "<!DOCTYPE" : "<!", offset)) depth += 1;
    else if (depth === 0 && !isSpace(head.charAt(offset))) return SVG_TAG.test(head.slice(offset));
    else if (head.charAt(offset) === ">") depth -= 1;
    offset += 1;
  }
  return false;
}

/**
 * Returns the encoding of an XML document by its byte order mark, which UTF-16 requires (XML 1.0, 4.3.3 and
 * appendix F). Every other encoding that browsers support has the same bytes as UTF-8 for these delimiters.
 */
function encodingOf([first, second]: Uint8Array): string {
  if (first === 0xff && second === 0xfe) return "utf-16le";
  return first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
}

/** Returns true for white space (XML 1.0, 2.3). */
function isSpace(character: string): boolean {
  return " \t\r\n".includes(character);
}
