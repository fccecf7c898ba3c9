/** One row of the table. */
export interface Row {
  name: string;
  /** CPU time per call of the gateway, in milliseconds; absent where a case has no calls to count. */
  cpuMs?: number;
  /** The same of the bare Worker. */
  floorMs?: number;
  figures: Figure[];
}

/** What was measured, and what it may be at most. */
export interface Figure {
  what: string;
  value: number;
  unit: "×" | " ms" | " MB" | "";
  /** Absent where a row only informs. */
  target?: number;
}

/** Rows as a table in Markdown. A figure above its target stands in bold. */
export function table(rows: readonly Row[]): string {
  const lines = rows.map(({ name, cpuMs, floorMs, figures }) =>
    [name, milliseconds(cpuMs), milliseconds(floorMs), figures.map(inWords).join(", ")].join(" | "),
  );
  const head = ["case | CPU, ms | floor, ms | held (at most)", "--- | ---: | ---: | ---"];
  return [...head, ...lines].map((line) => `| ${line} |`).join("\n");
}

function isMissed({ value, target }: Figure): boolean {
  return target !== undefined && value > target;
}

function inWords(figure: Figure): string {
  const { what, value, unit, target } = figure;
  const digits = unit === "×" ? 2 : unit === "" ? 0 : 1;
  const measured = `${what} ${value.toFixed(digits)}${unit}`;
  const shown = isMissed(figure) ? `**${measured}**` : measured;
  return target === undefined ? shown : `${shown} (${target.toFixed(target % 1 === 0 ? 0 : 2)})`;
}

function milliseconds(value: number | undefined): string {
  return value === undefined ? "" : value.toFixed(2);
}
