import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { GIF, newPrompt, SMALL, SVG } from "../support/bodies.ts";
import { browserPath, errorsOf, naturalWidth, startBrowser } from "../support/browser.ts";
import { startSite, type Site } from "../support/site.ts";
import { read, startStage } from "../support/stage.ts";
import { SVG_MODELS } from "../support/vars.ts";

/** The prefix of the URLs that a hostile SVG requests. */
const TRACK_PATH = "/images/track/";
const TITLE = "A page of another origin";

describe.skipIf(browserPath === undefined)("in a real browser", { timeout: 30_000 }, () => {
  const stage = startStage({ SVG_MODELS });
  let site: Site;
  let browser: Browser;
  let page: Page;
  /** The paths that the tests request below TRACK_PATH themselves. */
  const ownPaths: string[] = [];

  beforeAll(async () => {
    [site, browser] = await Promise.all([
      startSite((request, response) => {
        const html = new URL(`${site.origin}${request.url}`).searchParams.get("html");
        response.writeHead(200, { "content-type": "text/html" });
        response.end(`<!doctype html><title>${TITLE}</title>${html}`);
      }),
      startBrowser(),
    ]);
  }, 30_000);
  afterAll(async () => {
    await browser.close();
    site.close();
  });
  beforeEach(async () => {
    page = await browser.newPage();
  });
  afterEach(() => page.context().close());

  /** Generates an image, and returns the URL of its file. */
  async function generate(body: object): Promise<string> {
    const { data } = await read(await stage.post({ ...body, response_format: "url" }));
    return String(data[0]?.url);
  }

  function generateHostileSvg(): Promise<string> {
    return generate({ ...SVG, prompt: newPrompt("[upstream svg=hostile]") });
  }

  /** Opens a page of another origin with this content. */
  async function openSite(html = ""): Promise<void> {
    await page.goto(`${site.origin}/?html=${encodeURIComponent(html)}`);
  }

  /**
   * Fails if an SVG ran its script or requested a URL. The page requests a URL of the same prefix last. It must
   * arrive, and no other.
   */
  async function expectNothingRan(): Promise<void> {
    const titles = await Promise.all(page.frames().map((frame) => frame.title()));
    expect(titles).not.toContain("hacked");
    expect(titles[0]).toBe(TITLE);
    const path = `${TRACK_PATH}${crypto.randomUUID()}`;
    ownPaths.push(path);
    // As text, because the Workers' type of `fetch` has no `mode`.
    const url = JSON.stringify(stage.upstream.origin + path);
    await page.evaluate(`fetch(${url}, { mode: "no-cors" }).then(() => undefined)`);
    const paths = stage.upstream.fetched.map((request) => request.path);
    expect(paths.filter((path) => path.startsWith(TRACK_PATH))).toEqual(ownPaths);
  }

  describe("a hostile SVG", () => {
    it("is shown by <img>, runs and requests nothing, and does not navigate on a click", async () => {
      await openSite(`<img src="${await generateHostileSvg()}" width="300">`);
      const siteUrl = page.url();
      expect(await naturalWidth(page, "img")).toBeGreaterThan(0);
      await page.click("img");
      await expectNothingRan();
      expect(page.url()).toBe(siteUrl);
    });

    it.each([
      ["<iframe>", (url: string) => `<iframe src="${url}"></iframe>`],
      ["<object>", (url: string) => `<object data="${url}" type="image/svg+xml"></object>`],
      ["<embed>", (url: string) => `<embed src="${url}" type="image/svg+xml">`],
    ])("runs and requests nothing in %s", async (_, html) => {
      const url = await generateHostileSvg();
      const [response] = await Promise.all([page.waitForResponse(url), openSite(html(url))]);
      expect(response.status()).toBe(200);
      await expectNothingRan();
    });

    it("is a download if it is opened by itself", async () => {
      const url = await generateHostileSvg();
      await openSite();
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        expect(page.goto(url)).rejects.toThrow("Download is starting"),
      ]);
      expect(download.suggestedFilename()).toBe("0.svg");
      await expectNothingRan();
    });
  });

  it.each(["doctype", "prefix", "utf-16le", "utf-16be"])(
    "shows an SVG of the form %s by <img>",
    async (form) => {
      const url = await generate({ ...SVG, prompt: newPrompt(`[upstream svg=${form}]`) });
      await openSite(`<img src="${url}">`);
      expect(await naturalWidth(page, "img")).toBe(Number.parseInt(SVG.size, 10));
    },
  );

  it.each([
    ["PNG", SMALL],
    ["GIF", GIF],
  ])("shows a %s that is opened by itself, without a console error", async (_, body) => {
    const url = await generate({ ...body, prompt: newPrompt() });
    const errors = errorsOf(page);
    await page.goto(url);
    expect(await naturalWidth(page, "img")).toBe(Number.parseInt(body.size, 10));
    expect(errors).toEqual([]);
  });
});
