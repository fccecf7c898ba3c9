import { readFileSync } from "node:fs";
import { cpus, release, type } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { closeConnections } from "./client.ts";
import { comparisons } from "./comparisons.ts";
import { flat } from "./flat.ts";
import { herd } from "./herd.ts";
import { FULL, SMOKE } from "./measure.ts";
import { table, type Row } from "./row.ts";
import { startServers } from "./servers.ts";

/*
 * npm run bench: measures the gateway against a bare Worker in the same run, and prints a table.
 *
 * --json   prints the same for machines
 * --smoke  measures a little of everything: whether the benchmark works, and nothing about time
 */
const { values: flags } = parseArgs({
  options: { json: { type: "boolean" }, smoke: { type: "boolean" } },
});
const effort = flags.smoke === true ? SMOKE : FULL;

const servers = await startServers();
const rows: Row[] = [];
const add = (row: Row) => {
  rows.push(row);
  if (flags.smoke !== true) process.stderr.write(`measured: ${row.name}\n`);
};
try {
  for await (const row of comparisons(servers, effort)) add(row);
  add(await herd(servers, effort));
  add(await flat(servers, effort));
} finally {
  await servers.close();
  closeConnections();
}

const machine = { cpu: cpus()[0]?.model, cores: cpus().length, system: `${type()} ${release()}` };
const versions = {
  node: process.version,
  miniflare: installed("miniflare"),
  workerd: installed("workerd"),
};
if (flags.smoke === true) {
  process.stdout.write(`${rows.length} cases can be measured.\n`);
} else if (flags.json === true) {
  process.stdout.write(`${JSON.stringify({ machine, versions, effort, rows }, null, 2)}\n`);
} else {
  const { cpu, cores, system } = machine;
  const { node, miniflare, workerd } = versions;
  process.stdout.write(
    `${cpu}, ${cores} cores, ${system}; Node ${node}, miniflare ${miniflare}, workerd ${workerd}\n\n` +
      `${table(rows)}\n\nIn bold what is above its target.\n`,
  );
}

function installed(name: string): string {
  const manifest = join(import.meta.dirname, "../../node_modules", name, "package.json");
  const { version }: { version: string } = JSON.parse(readFileSync(manifest, "utf8"));
  return version;
}
