import { existsSync } from "node:fs";
import { chromium, type Browser, type Page } from "playwright-core";

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

/** Returns the console errors and uncaught exceptions of a page. The list grows with each later one. */
export function errorsOf(page: Page): string[] {
  const errors: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  page.on("pageerror", (error) => errors.push(error.message));
  return errors;
}

/** Returns the width of the first image that a selector matches, in its own pixels; 0 if it is not shown. */
export function naturalWidth(page: Page, selector: string): Promise<number> {
  return page
    .locator(selector)
    .first()
    .evaluate((image: { naturalWidth: number }) => image.naturalWidth);
}

/** Starts the system's Chromium. */
export function startBrowser(): Promise<Browser> {
  if (browserPath === undefined)
    throw new Error("Chromium was not found. Set CHROMIUM to its path.");
  return chromium.launch({ executablePath: browserPath, args: FLAGS });
}
