// Installs what is missing, with whichever Node runs npm: everything else then runs on the Node
// that the project brings along.
import { execSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";

const installed = "node_modules/.package-lock.json";
const isCurrent =
  existsSync(installed) && statSync(installed).mtimeMs >= statSync("package-lock.json").mtimeMs;

if (!isCurrent) {
  console.log("Installing what is missing …");
  execSync("npm ci --no-audit --no-fund --loglevel=error", { stdio: "inherit" });
}
