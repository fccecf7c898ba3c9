/** One row of the table. */
export interface Row {
  name: string;
  /** CPU time per call of the gateway, in milliseconds; absent if a case does not measure it. */
  cpuMs?: number;
  /** The same of the bare Worker. */
  floorMs?: number;
  figures: Figure[];
}

/** A measured value and its upper bound. */
export interface Figure {
  what: string;
  value: number;
  unit: "×" | " ms" | " MB" | "";
  /** Absent if the figure has no upper bound. */
  target?: number;
}

/** The head of the table in Markdown. */
export const TABLE_HEAD: readonly string[] = [
  "| case | CPU, ms | floor, ms | measured (target) |",
  "| --- | ---: | ---: | --- |",
];

/** Returns a row in Markdown. A figure above its target is in bold. */
export function tableLine({ name, cpuMs, floorMs, figures }: Row): string {
  const measured = figures.map(inWords).join(", ");
  return `| ${[name, milliseconds(cpuMs), milliseconds(floorMs), measured].join(" | ")} |`;
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
