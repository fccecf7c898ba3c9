/** A fixed list of sizes. */
export interface ListedSizes {
  kind: "listed";
  sizes: readonly string[];
}

/** Any `WIDTHxHEIGHT` inside these bounds, or `auto`. */
export interface FreeSizes {
  kind: "free";
  /** The number of which both edges are multiples. */
  multipleOf: number;
  /** Pixels. */
  minEdge: number;
  maxEdge: number;
  /** Longest edge / shortest edge. */
  maxAspectRatio: number;
  /** Width × height. */
  minPixels: number;
  maxPixels: number;
}

/**
 * Returns the grid in which a GPT image model draws the frames of a GIF: one image, whose size is limited
 * and charged as a whole. OpenAI does not publish it. Third parties measured it in November 2026.
 */
export function frameGrid(frameCount: number): { columns: number; rows: number } {
  if (frameCount <= 8) return { columns: 4, rows: 2 };
  if (frameCount === 9) return { columns: 3, rows: 3 };
  return { columns: 4, rows: frameCount <= 12 ? 3 : 4 };
}

export type Edges = readonly [width: number, height: number];

/** Returns the edges of a size in pixels, both at least 1; `undefined` for `auto` or anything else. */
export function edgesOf(size: string): Edges | undefined {
  const match = /^([1-9]\d{0,4})x([1-9]\d{0,4})$/.exec(size);
  return match === null ? undefined : [Number(match[1]), Number(match[2])];
}

/**
 * Returns why a model does not accept a size, as a clause; `undefined` if it does.
 *
 * @param cells the images of this size that are drawn as one: the frames of a GIF, for which only the
 *   smallest number of pixels is checked. The upstream says which larger ones it does not draw
 */
export function sizeProblem(
  size: string,
  sizes: ListedSizes | FreeSizes,
  cells = 1,
): string | undefined {
  if (sizes.kind === "listed") {
    return sizes.sizes.includes(size) ? undefined : `it must be one of ${sizes.sizes.join(", ")}`;
  }
  if (size === "auto") return undefined;
  const edges = edgesOf(size);
  if (edges === undefined) return "it must be auto or WIDTHxHEIGHT in pixels, such as 1536x1024";
  const [width, height] = edges;
  const { multipleOf, minEdge, maxEdge, maxAspectRatio, maxPixels } = sizes;
  const minPixels = Math.ceil(sizes.minPixels / cells);
  if (width % multipleOf !== 0 || height % multipleOf !== 0) {
    return `width and height must be multiples of ${multipleOf}`;
  }
  const [long, short] = [Math.max(width, height), Math.min(width, height)];
  if (long > maxEdge) return `no edge may be longer than ${maxEdge} pixels`;
  if (short < minEdge) return `no edge may be shorter than ${minEdge} pixels`;
  if (long > maxAspectRatio * short) {
    return `the longer edge may be at most ${maxAspectRatio} times the shorter one`;
  }
  const pixels = width * height;
  if (pixels < minPixels) return `it has ${pixels} pixels, and at least ${minPixels} are required`;
  if (pixels > maxPixels) return `it has ${pixels} pixels, and at most ${maxPixels} are allowed`;
  return undefined;
}
