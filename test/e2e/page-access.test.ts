import axe from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { mintToken } from "../../src/access/token.ts";
import { browserPath, errorsOf, startBrowser } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { startLocal, type Local } from "../support/npm-start.ts";
import { startSiteverify, type Siteverify } from "../support/siteverify.ts";
import { TOKEN_SECRET } from "../support/vars.ts";
import { newPrompt } from "../support/bodies.ts";

/** Replaces Cloudflare's script: a widget that immediately returns this token. */
const WIDGET = (token: string) => `
  globalThis.turnstile = {
    reset() {},
    render(container, { sitekey, action, callback }) {
      container.textContent = sitekey + " for " + action;
      setTimeout(() => callback(${JSON.stringify(token)}));
      return "widget";
    },
  };`;

describe.skipIf(browserPath === undefined)(
  "the page of a gateway that requires a token",
  { timeout: 30_000 },
  () => {
    let siteverify: Siteverify;
    let local: Local;
    let browser: Browser;
    let page: Page;
    /** Console errors and uncaught exceptions of the page. */
    let pageErrors: string[];

    beforeAll(async () => {
      [siteverify, browser] = await Promise.all([startSiteverify(), startBrowser()]);
      local = await startLocal({
        ACCESS: "token",
        TOKEN_SECRET,
        TURNSTILE_SECRET: "1x0000000000000000000000000000000AA",
        TURNSTILE_SITE_KEY: "1x00000000000000000000AA",
        TURNSTILE_VERIFY_URL: siteverify.url,
      });
    }, 90_000);
    afterAll(async () => {
      await browser.close();
      await Promise.all([local.close(), siteverify.close()]);
    });
    afterEach(async () => {
      await page.context().close();
    });

    async function open(widgetToken: string): Promise<void> {
      const context = await browser.newContext();
      page = await context.newPage();
      pageErrors = errorsOf(page);
      // The page's Content-Security-Policy applies first: it blocks an origin that it does not list.
      await page.route("https://challenges.cloudflare.com/**", (route) =>
        route.fulfill({ contentType: "text/javascript", body: WIDGET(widgetToken) }),
      );
      await page.goto(local.url);
      await page.locator("#model option").first().waitFor({ state: "attached" });
    }

    async function generate(): Promise<void> {
      await page.locator("#prompt").fill(newPrompt());
      await page.locator("#model").selectOption("dall-e-2");
      await page.locator("#generate").click();
    }

    it("generates for a user who passes the widget, and shows the cost", async () => {
      await open(`good-${crypto.randomUUID()}`);
      // The form is hidden at first too, so wait for the token: it proves that the widget was passed.
      await eventually(async () => expect(await page.evaluate("sessionStorage.length")).toBe(1));
      await page.locator("#access").waitFor({ state: "hidden" });
      await generate();
      await page.locator("#images img").waitFor();
      await eventually(async () =>
        expect(await page.locator("#state").textContent()).toContain("cost $0.0200"),
      );
      expect(await page.locator("#budget").textContent()).toMatch(
        /^\$[\d.]+ of \$1000\.00 left today\.$/,
      );
      expect(pageErrors).toEqual([]);
    });

    it("accepts a typed token if Turnstile rejects the widget's, and stores it for this tab only", async () => {
      await open("bad");
      await eventually(async () =>
        expect(await page.locator("#error-token").textContent()).toContain("Turnstile"),
      );
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate<axe.AxeResults>("axe.run()");
      expect(violations).toEqual([]);

      const nowSeconds = Math.floor(Date.now() / 1000);
      const origins = [local.url];
      const { token } = await mintToken([TOKEN_SECRET], {
        sub: "page",
        ttlSeconds: 60,
        nowSeconds,
        limits: { origins },
      });
      await page.locator("#token").fill(token);
      await page.locator("#token").press("Enter");
      await page.locator("#access").waitFor({ state: "hidden" });
      await generate();
      await page.locator("#images img").waitFor();
      const stored = await page.evaluate(
        "JSON.stringify([localStorage, sessionStorage, document.cookie])",
      );
      const [persistent, session, cookie] = JSON.parse(String(stored)) as [object, object, string];
      expect(JSON.stringify(persistent)).not.toContain(token);
      expect(JSON.stringify(session)).toContain(token);
      expect(cookie).toBe("");
    });

    it("shows the token form after a token is rejected", async () => {
      await open("bad");
      await page.locator("#token").fill("nonsense");
      await page.locator("#token").press("Enter");
      await generate();
      await page.locator("#access").waitFor({ state: "visible" });
      expect(await page.locator("#problem").textContent()).toContain("token");
    });

    it("allows the widget's origin in its Content-Security-Policy", async () => {
      await open("bad");
      const policy = (await fetch(local.url)).headers.get("content-security-policy");
      expect(policy).toContain("script-src 'self' https://challenges.cloudflare.com;");
      expect(policy).toContain("frame-src https://challenges.cloudflare.com");
      expect(policy).toContain("default-src 'none'");
    });
  },
);
