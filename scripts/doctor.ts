import { checkGateway, type Check } from "./check-gateway.ts";
import { startDev } from "./dev.ts";
import { secretOf } from "./dev-vars.ts";
import { fail, optionsOf } from "./options.ts";

const USAGE = `npm run doctor                                 checks the setup on this machine, with .dev.vars
npm run doctor -- --url https://your.example   checks a deployment

Reads /health and, if ADMIN_KEY is set in the environment or .dev.vars, the gateway's diagnostics.
Costs nothing. Exits with code 1 if a check fails.`;

const { url } = optionsOf(USAGE, { options: { url: { type: "string" } } });
process.exitCode = (await (url === undefined ? checkLocal() : checkDeployment(url))) ? 0 : 1;

function checkDeployment(deploymentUrl: string): Promise<boolean> {
  return report(URL.parse(deploymentUrl)?.origin ?? fail(USAGE), secretOf("ADMIN_KEY"));
}

/** Starts a Worker with the variables in .dev.vars, and an admin key if they contain none. */
async function checkLocal(): Promise<boolean> {
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

/** Prints every check and a summary. Returns true if no check failed. */
async function report(origin: string, adminKey: string | undefined): Promise<boolean> {
  console.log(`\n  ${origin}\n`);
  const checks = await checkGateway(origin, adminKey);
  for (const check of checks) console.log(format(check));
  const failed = checks.filter(({ ok }) => !ok).length;
  const warnings = checks.filter((check) => labelOf(check) === "warning").length;
  const summary = failed === 0 ? "All checks passed." : `${count(failed, "check")} failed.`;
  console.log(`\n  ${summary}${warnings === 0 ? "" : ` ${count(warnings, "warning")}.`}\n`);
  return failed === 0;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function format(check: Check): string {
  const { name, detail, fix } = check;
  const label = labelOf(check);
  const line = `  ${label.padEnd(8)}${name.padEnd(14)}${detail}`;
  return label === "ok" || fix === undefined ? line : `${line}\n${" ".repeat(24)}→ ${fix}`;
}

function labelOf({ ok, warning = false, isSkipped = false }: Check): string {
  if (isSkipped) return "skipped";
  if (!ok) return "failed";
  return warning ? "warning" : "ok";
}
