import { startDev } from "./dev.ts";
import { secretOf } from "./dev-vars.ts";
import { examine, type Finding } from "./examine.ts";
import { fail, optionsOf } from "./options.ts";

const USAGE = `npm run doctor                              the set-up on this machine, with .dev.vars
npm run doctor -- --url https://your.example   a deployment

Looks at the gateway from outside, and with ADMIN_KEY (from the environment or .dev.vars) from within.
Costs nothing. Ends with 1 where something is wrong.`;

const { url } = optionsOf(USAGE, { options: { url: { type: "string" } } });
process.exitCode = (await (url === undefined ? local() : deployed(url))) ? 0 : 1;

function deployed(address: string): Promise<boolean> {
  return report(URL.parse(address)?.origin ?? fail(USAGE), secretOf("ADMIN_KEY"));
}

/** A Worker of its own, with what is in .dev.vars, and a key that lets the doctor look within. */
async function local(): Promise<boolean> {
  const adminKey = secretOf("ADMIN_KEY") ?? crypto.randomUUID();
  const vars = [`ADMIN_KEY:${adminKey}`, "LOCAL_DEVELOPMENT:true"];
  const dev = await startDev(vars, { isQuiet: true });
  try {
    await dev.ready;
    return await report(dev.url, adminKey);
  } finally {
    await dev.close();
  }
}

async function report(origin: string, adminKey: string | undefined): Promise<boolean> {
  console.log(`\n  ${origin}\n`);
  const findings = await examine(origin, adminKey);
  for (const finding of findings) console.log(line(finding));
  const failed = findings.filter(({ ok }) => !ok).length;
  const warnings = findings.filter((finding) => labelOf(finding) === "warning").length;
  const later = warnings === 0 ? "" : ` ${warnings} to change in time.`;
  console.log(`\n  ${failed === 0 ? "All is well." : `${failed} to be seen to.`}${later}\n`);
  return failed === 0;
}

function line(finding: Finding): string {
  const { name, detail, cure } = finding;
  const label = labelOf(finding);
  const said = `  ${label.padEnd(8)}${name.padEnd(14)}${detail}`;
  return label === "ok" || cure === undefined ? said : `${said}\n${" ".repeat(24)}→ ${cure}`;
}

function labelOf({ ok, warning = false, isSkipped = false }: Finding): string {
  if (isSkipped) return "–";
  if (!ok) return "failed";
  return warning ? "warning" : "ok";
}
