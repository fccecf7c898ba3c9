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
  const warnings = findings.filter(({ ok, warning = false }) => ok && warning).length;
  const later = warnings === 0 ? "" : ` ${warnings} to change in time.`;
  console.log(
    failed === 0 ? `\n  All is well.${later}\n` : `\n  ${failed} to be seen to.${later}\n`,
  );
  return failed === 0;
}

function line({ name, ok, detail, cure, warning = false, isSkipped = false }: Finding): string {
  const passed = warning ? "warning" : "ok";
  const found = ok ? passed : "failed";
  const said = `  ${(isSkipped ? "–" : found).padEnd(8)}${name.padEnd(14)}${detail}`;
  return (ok && !warning && !isSkipped) || cure === undefined
    ? said
    : `${said}\n${" ".repeat(24)}→ ${cure}`;
}
