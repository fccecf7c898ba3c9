import axe from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { mintToken } from "../../src/access/token.ts";
import { browserPath, startBrowser } from "../support/browser.ts";
import { startLocal, type Local } from "../support/npm-start.ts";
import { startSiteverify, type Siteverify } from "../support/siteverify.ts";
import { TOKEN_SECRET } from "../support/vars.ts";
import { newPrompt } from "../support/bodies.ts";

/** What stands in for Cloudflare's script: a widget that is passed at once, with this token. */
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
  "the page of a gateway that wants a token",
  { timeout: 30_000 },
  () => {
    let siteverify: Siteverify;
    let local: Local;
    let browser: Browser;
    let page: Page;
    const problems: string[] = [];

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
      problems.length = 0;
    });

    async function open(widgetToken: string): Promise<void> {
      const context = await browser.newContext();
      page = await context.newPage();
      page.on("console", (message) => {
        if (message.type() === "error") problems.push(message.text());
      });
      page.on("pageerror", (error) => problems.push(error.message));
      // Under the page's own policy: were the origin not in it, this would never be asked for.
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

    it("lets whoever passes the widget make a picture, and says what it cost", async () => {
      await open(`good-${crypto.randomUUID()}`);
      // Hidden at first too: what shows that the widget was passed is the token.
      await expect.poll(() => page.evaluate("sessionStorage.length")).toBe(1);
      await page.locator("#access").waitFor({ state: "hidden" });
      await generate();
      await page.locator("#pictures img").waitFor();
      await expect.poll(() => page.locator("#state").textContent()).toContain("for $0.0200");
      expect(await page.locator("#budget").textContent()).toMatch(
        /^\$[\d.]+ of today's \$1000\.00 are left\.$/,
      );
      expect(problems).toEqual([]);
    });

    it("asks for a token where the widget's is refused, keeps it for this tab, and uses it", async () => {
      await open("bad");
      await expect.poll(() => page.locator("#error-token").textContent()).toContain("Turnstile");
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
      await page.locator("#pictures img").waitFor();
      const stored = await page.evaluate(
        "JSON.stringify([localStorage, sessionStorage, document.cookie])",
      );
      const [kept, tab, cookie] = JSON.parse(String(stored)) as [object, object, string];
      expect(JSON.stringify(kept)).not.toContain(token);
      expect(JSON.stringify(tab)).toContain(token);
      expect(cookie).toBe("");
    });

    it("asks again where a token is not good", async () => {
      await open("bad");
      await page.locator("#token").fill("nonsense");
      await page.locator("#token").press("Enter");
      await generate();
      await page.locator("#access").waitFor({ state: "visible" });
      expect(await page.locator("#problem").textContent()).toContain("token");
    });

    it("has the widget's origin in its policy, and no other", async () => {
      await open("bad");
      const policy = (await fetch(local.url)).headers.get("content-security-policy");
      expect(policy).toContain("script-src 'self' https://challenges.cloudflare.com;");
      expect(policy).toContain("frame-src https://challenges.cloudflare.com");
      expect(policy).toContain("default-src 'none'");
    });
  },
);
