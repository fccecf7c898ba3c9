// Takes the screenshots of the page for the README.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { BrowserContextOptions } from "playwright-core";
import { startBrowser } from "../test/support/browser.ts";
import { startLocal } from "../test/support/npm-start.ts";

const PHONE_WIDTH = 390;
const directory = join(import.meta.dirname, "../docs");
await mkdir(directory, { recursive: true });
const local = await startLocal();
const browser = await startBrowser();

await take("page-light.png", "a lighthouse in a storm, oil on canvas", {
  viewport: { width: 1280, height: 940 },
});
await take("page-phone.png", "a fox in the snow", {
  viewport: { width: PHONE_WIDTH, height: 844 },
  colorScheme: "dark",
});

await browser.close();
await local.close();

async function take(name: string, prompt: string, options: BrowserContextOptions): Promise<void> {
  const page = await browser.newPage(options);
  await page.goto(local.url);
  await page.locator("#model option").first().waitFor({ state: "attached" });
  await page.fill("#prompt", prompt);
  await page.click("#generate");
  await page.locator(".image-info a").waitFor();
  const first = options.viewport?.width === PHONE_WIDTH ? "#generate" : "body";
  await page.locator(first).evaluate((element) => element.scrollIntoView());
  await page.screenshot({ path: join(directory, name) });
  await page.close();
  console.log(`docs/${name}`);
}
