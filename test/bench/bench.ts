import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { cpus, release, type } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { bundleWorker } from "../support/bundle.ts";
import { closeConnections } from "./client.ts";
import { COMPARISONS, compared, prepared } from "./comparisons.ts";
import { FLAT, flat } from "./flat.ts";
import { HERD, herd } from "./herd.ts";
import { FULL, SMOKE } from "./measure.ts";
import { TABLE_HEAD, tableLine, type Row } from "./row.ts";
import { startServers } from "./servers.ts";
import { unread, UNREAD } from "./unread.ts";
import { measureWaits, WAITS, WAITS_HEAD, waitsLine, type WaitsRow } from "./waits.ts";

/*
 * npm run bench: measures the gateway against a bare Worker in the same run, and the number of calls that
 * a request waits for in sequence. Each row of the two tables is printed as soon as it is measured.
 *
 * --only <text>  measures only the rows whose name contains the text
 * --json         prints one JSON document at the end instead
 * --smoke        measures a little of every row of the first table, to check that the benchmark works
 */
const { values: flags } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    smoke: { type: "boolean", default: false },
  },
});
const { json, only, smoke } = flags;
const effort = smoke ? SMOKE : FULL;

/** Returns the name of a row of waits for `--only`, so that `--only waits` measures only that table. */
const waitsName = (name: string) => `waits: ${name}`;
const isSelected = (name: string) => name.includes(only);

const CASES = [...COMPARISONS.map(({ name }) => name), HERD, FLAT, ...UNREAD];
const cases = CASES.filter(isSelected);
const waits = smoke ? [] : WAITS.filter((name) => isSelected(waitsName(name)));

if (cases.length + waits.length === 0) {
  const names = [...CASES, ...WAITS.map(waitsName)];
  console.error(`No row's name contains "${only}". The rows are:\n${names.join("\n")}`);
  process.exitCode = 1;
} else {
  const { cpu, cores, system } = machine();
  const { node, miniflare, workerd } = versions();
  const print = (...lines: readonly string[]) => {
    if (!json && !smoke) process.stdout.write(`${lines.join("\n")}\n`);
  };
  print(
    `${cpu}, ${cores} cores, ${system}; Node ${node}, miniflare ${miniflare}, workerd ${workerd}`,
  );
  const bundle = await bundleWorker();
  const rows: Row[] = [];
  const waitsRows: WaitsRow[] = [];
  try {
    if (cases.length > 0) print("", ...TABLE_HEAD);
    for await (const row of measuredRows(bundle)) {
      rows.push(row);
      print(tableLine(row));
    }
    if (waits.length > 0) {
      print("", ...WAITS_HEAD);
      for (const row of await measureWaits(bundle, waits)) {
        waitsRows.push(row);
        print(waitsLine(row));
      }
    }
  } finally {
    closeConnections();
    await rm(dirname(bundle), { recursive: true });
  }
  print("", "Figures above their target are in bold.");
  if (smoke) {
    process.stdout.write(`${rows.length} cases can be measured.\n`);
  } else if (json) {
    const document = { machine: machine(), versions: versions(), effort, rows, waits: waitsRows };
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  }
}

async function* measuredRows(bundle: string): AsyncGenerator<Row, void> {
  const unreadCases = UNREAD.filter(isSelected);
  if (cases.length > unreadCases.length) yield* comparedRows(bundle);
  yield* unread(bundle, unreadCases, effort);
}

async function* comparedRows(bundle: string): AsyncGenerator<Row, void> {
  const servers = await startServers(bundle);
  try {
    const comparisons = COMPARISONS.filter(({ name }) => isSelected(name));
    if (comparisons.length > 0) {
      const stage = await prepared(servers);
      for (const each of comparisons) yield await compared(each, stage, effort);
    }
    if (isSelected(HERD)) yield await herd(servers, effort);
    if (isSelected(FLAT)) yield await flat(servers, effort);
  } finally {
    await servers.close();
  }
}

function machine() {
  return { cpu: cpus()[0]?.model, cores: cpus().length, system: `${type()} ${release()}` };
}

function versions() {
  return {
    node: process.version,
    miniflare: installed("miniflare"),
    workerd: installed("workerd"),
  };
}

function installed(name: string): string {
  const manifest = join(import.meta.dirname, "../../node_modules", name, "package.json");
  const { version }: { version: string } = JSON.parse(readFileSync(manifest, "utf8"));
  return version;
}
