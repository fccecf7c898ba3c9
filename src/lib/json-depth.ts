/** The maximum nesting depth of a JSON body. No request of the API is deeper than three. */
export const MAX_JSON_DEPTH = 16;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** `[` and `{`, `]` and `}`. */
const OPENING: ReadonlySet<number> = new Set([0x5b, 0x7b]);
const CLOSING: ReadonlySet<number> = new Set([0x5d, 0x7d]);

/** Returns how deeply JSON is nested. It is counted before parsing, because a parser recurses. */
export function jsonDepth(json: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let isString = false;
  for (let index = 0; index < json.length; index += 1) {
    const byte = json[index];
    if (isString) {
      if (byte === BACKSLASH) index += 1;
      else if (byte === QUOTE) isString = false;
    } else if (byte === QUOTE) {
      isString = true;
    } else if (byte !== undefined && OPENING.has(byte)) {
      depth += 1;
      deepest = Math.max(deepest, depth);
    } else if (byte !== undefined && CLOSING.has(byte)) {
      depth -= 1;
    }
  }
  return deepest;
}
