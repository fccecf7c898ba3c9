// Installs the dependencies if they are missing or outdated. Runs on any Node version that runs npm.
// All other scripts run on the Node version in the project's dependencies.
import { execSync } from "node:child_process";
import { existsSync, lstatSync, statSync } from "node:fs";

const installed = "node_modules/.package-lock.json";
const isCurrent =
  existsSync(installed) && statSync(installed).mtimeMs >= statSync("package-lock.json").mtimeMs;
// `npm ci` would delete the packages of the folder that a link leads to.
const isLink = lstatSync("node_modules", { throwIfNoEntry: false })?.isSymbolicLink() === true;

if (!isCurrent && !isLink) {
  console.log("Installing dependencies …");
  execSync("npm ci --no-audit --no-fund --loglevel=error", { stdio: "inherit" });
}
