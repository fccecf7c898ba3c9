import axe from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { browserPath, errorsOf, startBrowser } from "../support/browser.ts";
import { startLocal, type Local } from "../support/npm-start.ts";

// axe reads more than 5000 elements, which takes 5 seconds on an idle machine.
describe.skipIf(browserPath === undefined)("the page at /docs", { timeout: 60_000 }, () => {
  let local: Local;
  let browser: Browser;
  let page: Page;
  /** Console errors and uncaught exceptions of the page. */
  let pageErrors: string[];
  const requestedUrls: string[] = [];

  beforeAll(async () => {
    [local, browser] = await Promise.all([startLocal(), startBrowser()]);
    page = await browser.newPage();
    pageErrors = errorsOf(page);
    page.on("request", (request) => requestedUrls.push(request.url()));
    await page.goto(`${local.url}/docs`);
    await page.locator("article").first().waitFor();
  }, 90_000);
  afterAll(async () => {
    await browser.close();
    await local.close();
  });

  it("shows every operation of openapi.json, and links to each", async () => {
    const response = await fetch(`${local.url}/openapi.json`);
    const { paths } = (await response.json()) as { paths: Record<string, object> };
    const operations = Object.values(paths).flatMap((item) => Object.values(item)) as {
      operationId: string;
      summary: string;
    }[];
    for (const { operationId, summary } of operations) {
      expect(await page.locator(`article#${operationId} h2`).textContent()).toBe(summary);
      expect(await page.locator(`nav a[href="#${operationId}"]`).count()).toBe(1);
    }
  });

  it("shows a curl example and the message of every error", async () => {
    const article = page.locator("article#createImage");
    const example = article
      .locator("details")
      .filter({ has: page.locator("pre") })
      .first();
    await example.locator("summary").click();
    expect(await example.locator("pre").textContent()).toContain(
      `curl -X POST '${local.url}/v1/images/generations'`,
    );
    expect(await article.textContent()).toContain("budget_exceeded");
  });

  it("sends requests to the gateway only, without console errors or accessibility violations", async () => {
    expect(requestedUrls.filter((url) => !url.startsWith(local.url))).toEqual([]);
    await page.evaluate(
      "for (const each of document.querySelectorAll('details')) each.open = true;",
    );
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate<axe.AxeResults>(
      "axe.run({ resultTypes: ['violations'] })",
    );
    expect(violations).toEqual([]);
    expect(pageErrors).toEqual([]);
  });
});
