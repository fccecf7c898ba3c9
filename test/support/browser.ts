import { existsSync } from "node:fs";
import { chromium, type Browser } from "playwright-core";

const PATHS = [
  process.env["CHROMIUM"],
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** The path of the system's Chromium; `undefined` if none is installed. */
export const browserPath = PATHS.find((path) => path !== undefined && existsSync(path));

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts the system's Chromium. */
export function startBrowser(): Promise<Browser> {
  if (browserPath === undefined)
    throw new Error("Chromium was not found. Set CHROMIUM to its path.");
  return chromium.launch({ executablePath: browserPath, args: FLAGS });
}
