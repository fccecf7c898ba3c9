import axe from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { browserPath, startBrowser } from "../support/browser.ts";
import { startLocal, type Local } from "../support/npm-start.ts";

describe.skipIf(browserPath === undefined)("the page at /docs", { timeout: 30_000 }, () => {
  let local: Local;
  let browser: Browser;
  let page: Page;
  const problems: string[] = [];
  const asked: string[] = [];

  beforeAll(async () => {
    [local, browser] = await Promise.all([startLocal(), startBrowser()]);
    page = await browser.newPage();
    page.on("console", (message) => {
      if (message.type() === "error") problems.push(message.text());
    });
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("request", (request) => asked.push(request.url()));
    await page.goto(`${local.url}/docs`);
    await page.locator("article").first().waitFor();
  }, 90_000);
  afterAll(async () => {
    await browser.close();
    await local.close();
  });

  it("shows every operation of the document, and links to each", async () => {
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

  it("has an example to paste, and every error with its own words", async () => {
    const article = page.locator("article#createImage");
    await article.getByText("The reference document's own").click();
    expect(await article.locator("details[open] pre").first().textContent()).toContain(
      `curl -X POST '${local.url}/v1/images/generations'`,
    );
    expect(await article.textContent()).toContain("budget_exceeded");
  });

  it("asks nobody but the gateway, has no problem, and is accessible", async () => {
    expect(asked.filter((url) => !url.startsWith(local.url))).toEqual([]);
    await page.evaluate(
      "for (const each of document.querySelectorAll('details')) each.open = true;",
    );
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate<axe.AxeResults>("axe.run()");
    expect(violations).toEqual([]);
    expect(problems).toEqual([]);
  });
});
