import { readFile, stat } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import axe from "axe-core";
import type OpenAI from "openai";
import type { Browser, BrowserContextOptions, Page, Route } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { KNOWN_MODELS } from "../../src/contract/models.ts";
import { MISSING_KEY } from "../../src/config/environment.ts";
import { browserPath, errorsOf, naturalWidth, startBrowser } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { firstPort, startLocal, type Local, PORTS } from "../support/npm-start.ts";
import { GIF, newPrompt, SVG } from "../support/bodies.ts";
import { startSite, type Site } from "../support/site.ts";
import { SVG_MODELS } from "../support/vars.ts";

const OPEN_MODEL = "stablediffusion";
/** Every model of the table, and one with open rules. */
const MODELS = [...KNOWN_MODELS.map(({ id }) => id), OPEN_MODEL].join(",");

/** Returns a prompt for which the simulator does not wait as long as an upstream does. */
function quickPrompt(): string {
  return newPrompt("a man walks [upstream delay=0 gap=0]");
}

const isRequired = process.env["CI"] !== undefined;

if (browserPath === undefined) {
  console.warn(
    "\n!!! CHROMIUM NOT FOUND: the tests of the page, of images, of CORS and of the SDK in a browser are SKIPPED.\n" +
      "!!! Install it (Debian: apt-get install chromium), or set the variable CHROMIUM to its path.\n",
  );
}

describe("the browser", () => {
  it("is installed if CI is set", () => {
    expect(browserPath !== undefined || !isRequired).toBe(true);
  });
});

describe.skipIf(browserPath === undefined)("in a real browser", { timeout: 30_000 }, () => {
  let local: Local;
  let browser: Browser;
  /** The page of tests without browser options. A page of its own takes a second more. */
  let sharedPage: Page;
  let page: Page;
  /** Console errors and uncaught exceptions of the page. */
  let pageErrors: string[];

  beforeAll(async () => {
    [local, browser] = await Promise.all([startLocal({ SVG_MODELS, MODELS }), startBrowser()]);
    sharedPage = await (await browser.newContext()).newPage();
  }, 90_000);
  afterAll(async () => {
    await browser.close();
    await local.close();
  });
  afterEach(async () => {
    const others = browser.contexts().filter((context) => context !== sharedPage.context());
    await Promise.all(others.map((context) => context.close()));
    await sharedPage.unrouteAll();
    sharedPage.removeAllListeners();
    // The next test starts without a history, and without the requests of this one.
    if (sharedPage.url().startsWith(local.url)) await sharedPage.evaluate("localStorage.clear()");
    await sharedPage.goto("about:blank");
  });

  async function open(options?: BrowserContextOptions, url = local.url): Promise<void> {
    page =
      options === undefined
        ? sharedPage
        : await browser.newContext(options).then((context) => context.newPage());
    pageErrors = errorsOf(page);
    await page.goto(url);
  }

  async function openPage(options?: BrowserContextOptions): Promise<void> {
    await open(options);
    await page.locator("#model option").first().waitFor({ state: "attached" });
  }

  /** Sets fields of the form, by their ids. */
  async function fillForm(values: Record<string, string>): Promise<void> {
    for (const [id, value] of Object.entries(values)) {
      const isSelect = (await page.locator(`select#${id}`).count()) === 1;
      await (isSelect ? page.selectOption(`#${id}`, value) : page.fill(`#${id}`, value));
    }
  }

  async function generate(prompt: string): Promise<void> {
    await page.fill("#prompt", prompt);
    await page.click("#generate");
  }

  /** Returns the id of the element that has the focus. */
  function focused(): Promise<string> {
    return page.evaluate(() => Reflect.get(globalThis, "document").activeElement.id as string);
  }

  function expectState(text: string | RegExp): Promise<void> {
    return page.locator("#state").filter({ hasText: text }).waitFor();
  }

  it("npm start prints the API's error message for a missing key", () => {
    expect(local.printed).toContain(MISSING_KEY);
    expect(local.printed).toContain("SIMULATED UPSTREAM");
  });

  it("npm start serves at the first free port from --port on", () => {
    const port = Number(new URL(local.url).port);
    expect(port).toBeGreaterThanOrEqual(firstPort());
    expect(port).toBeLessThan(firstPort() + PORTS);
  });

  describe("the page", () => {
    it("shows partial images, then the image, then a cache hit after a reload", async () => {
      await openPage();
      // Slow enough for the test to observe a partial image.
      const prompt = newPrompt("a man walks [upstream gap=1000]");
      await generate(prompt);
      await expectState("Preview 1 of 3");
      expect(await naturalWidth(page, "#images .partial img")).toBe(1024);
      await expectState(/Done in \d\.\d s: cache miss/);
      expect(await naturalWidth(page, "#images img")).toBe(1024);
      expect(await page.textContent(".image-info .hint")).toMatch(/^1024 × 1024, \d+ kB$/);
      expect(await page.getAttribute(".image-info a", "download")).toBe("darkroom-0.png");

      await page.reload();
      await page.locator("#model option").first().waitFor({ state: "attached" });
      expect(await page.locator("#history img").count()).toBe(1);
      await generate(prompt);
      await expectState(/Done in \d\.\d s: cache hit/);
      expect(pageErrors).toEqual([]);
    });

    it("generates another image of the same prompt, and keeps the first one in the cache", async () => {
      await openPage();
      await generate(newPrompt());
      await expectState(/: cache miss/);
      const first = await page.getAttribute("#images img", "src");
      await page.click("#another");
      await expectState("Preview");
      await page.click("#cancel");
      await expectState("Generate again to see it");
      await page.click("#generate");
      await expectState(/: (?:joined a request|cache hit)/);
      expect(await page.getAttribute("#images img", "src")).not.toBe(first);
      expect(await page.locator("#history img").count()).toBe(2);
      await page.click("#generate");
      await expectState(/: cache hit/);
      expect(await page.getAttribute("#images img", "src")).toBe(first);
    });

    it.each([
      { ...GIF, cost: /: cache miss, cost at least \$\d\.\d{4}\.$/ },
      { ...SVG, cost: /: cache miss\.$/ },
    ])(
      "shows the $output_format that it generated, with its size, its cost and its download",
      async ({ model, output_format, size, cost }) => {
        await openPage();
        await page.selectOption("#model", model);
        await page.selectOption("#output_format", output_format);
        await page.fill("#size", size);
        await generate(quickPrompt());
        await expectState(cost);
        const edges = size.split("x");
        expect(await naturalWidth(page, "#images img")).toBe(Number(edges[0]));
        const [file] = await Promise.all([
          page.waitForEvent("download"),
          page.click(".image-info a"),
        ]);
        expect(file.suggestedFilename()).toBe(`darkroom-0.${output_format}`);
        const { size: bytes } = await stat(await file.path());
        const kilobytes = Math.max(1, Math.round(bytes / 1000));
        expect(await page.textContent(".image-info .hint")).toBe(
          `${edges.join(" × ")}, ${kilobytes} kB`,
        );
        expect(pageErrors).toEqual([]);
      },
    );

    it.each<[string, string, Record<string, string>]>([
      ["shows no cost if the upstream reports no tokens", "[upstream usage=none gap=0]", {}],
      [
        "shows no cost of another size at a price per image",
        "[upstream delay=0]",
        { model: "dall-e-2", size: "256x256" },
      ],
      [
        "shows no cost of another quality at a price per image",
        "[upstream delay=0]",
        { model: "dall-e-3", quality: "hd" },
      ],
    ])("%s", async (_, directives, form) => {
      await openPage();
      await fillForm(form);
      await generate(newPrompt(directives));
      await expectState(/: cache miss\.$/);
    });

    it("shows every image of a request with n > 1", async () => {
      await openPage();
      await page.selectOption("#model", "dall-e-2");
      await page.fill("#size", "256x256");
      await page.fill("#n", "3");
      await generate(quickPrompt());
      await expectState(/: cache miss/);
      expect(await page.locator("#images img").count()).toBe(3);
    });

    it("shows only the options that the model accepts", async () => {
      await openPage();
      expect(await page.inputValue("#model")).toBe("gpt-image-1.5");
      const options = (id: string) => page.locator(`#${id} option`).allTextContents();
      expect(await options("quality")).toEqual(["auto", "low", "medium", "high"]);
      for (const id of ["complexity", "style"]) expect(await page.isVisible(`#${id}`)).toBe(false);
      await page.selectOption("#model", "dall-e-3");
      expect(await options("quality")).toEqual(["standard", "hd"]);
      expect(await options("sizes")).toEqual(["1024x1024", "1792x1024", "1024x1792"]);
      expect(await page.inputValue("#size")).toBe("1024x1024");
      expect(await page.isVisible("#style")).toBe(true);
      for (const id of ["background", "output_format", "n"]) {
        expect(await page.isVisible(`#${id}`)).toBe(false);
      }
      await page.selectOption("#model", "gpt-image-2.6-flare");
      expect(await options("quality")).toContain("max");
      expect(await options("complexity")).toEqual(["default", "low", "medium", "high"]);
      expect(await page.isVisible("#complexity")).toBe(true);
      expect(await page.textContent("#size-rule")).toContain("multiples of 16, up to 3840");
    });

    it("shows only the options that the format accepts", async () => {
      await openPage();
      const backgrounds = () => page.locator("#background option").allTextContents();
      await fillForm({ model: SVG.model, background: "transparent", n: "2" });
      for (const format of ["jpeg", "gif", "svg"]) {
        await page.selectOption("#output_format", format);
        expect(await backgrounds()).toEqual(["auto", "opaque"]);
        expect(await page.isVisible("#n")).toBe(format !== "svg");
      }
      expect(await page.textContent("#curl")).toContain('"n":1,');
      expect(await page.textContent("#curl")).not.toContain("background");
      await page.selectOption("#output_format", "webp");
      expect(await backgrounds()).toEqual(["auto", "transparent", "opaque"]);
      expect(await page.isVisible("#n")).toBe(true);
    });

    it("sends the frames of a GIF only if the format is gif", async () => {
      await openPage();
      await fillForm({ model: GIF.model, output_format: "gif" });
      expect(await page.getAttribute("#frame_count", "max")).toBe("16");
      expect(await page.textContent("#curl")).not.toContain("frame");
      await fillForm({ size: GIF.size, frame_count: "17", frame_duration_ms: "50" });
      expect(await page.textContent("#curl")).toContain('"frame_count":17,"frame_duration_ms":50');
      await generate(quickPrompt());
      await page.locator("#error-frame_count").filter({ hasText: "at most 16" }).waitFor();
      await page.selectOption("#output_format", "png");
      expect(await page.isVisible("#frame_count")).toBe(false);
      expect(await page.textContent("#curl")).not.toContain("frame");
    });

    it("sends a model of another server any quality, and no parameters of streams", async () => {
      await openPage();
      await fillForm({ model: OPEN_MODEL, size: "512x512", "quality-word": "draft" });
      expect(await page.isVisible("#quality")).toBe(false);
      expect(await page.textContent("#size-rule")).toBe("auto, or WIDTHxHEIGHT, up to 8192");
      const [request] = await Promise.all([
        page.waitForRequest((request) => request.method() === "POST"),
        generate(newPrompt("[upstream reject=stream delay=0]")),
      ]);
      expect(request.postDataJSON()).toMatchObject({ quality: "draft" });
      await expectState(/: cache miss/);
      await page.selectOption("#model", "gpt-image-1.5");
      expect(await page.isVisible("#quality-word")).toBe(false);
      expect(await page.textContent("#curl")).not.toContain("draft");
    });

    it.each([
      ["2026-11-30T23:59:59Z", null, "OpenAI shuts this model down on 2026-12-01."],
      ["2026-12-01T00:00:00Z", null, "OpenAI shut this model down on 2026-12-01."],
      [
        "2026-11-30T23:59:59Z",
        "gpt-image-2.6-sunburst",
        "From 2026-12-01, requests use gpt-image-2.6-sunburst instead.",
      ],
      [
        "2026-12-01T00:00:00Z",
        "gpt-image-2.6-sunburst",
        "Since 2026-12-01, requests use gpt-image-2.6-sunburst instead.",
      ],
    ])(
      "shows the shutdown note of a retired model: at %s, replaced by %s",
      async (time, replacedBy, note) => {
        const context = await browser.newContext();
        page = await context.newPage();
        await page.clock.setFixedTime(time);
        await page.route("**/v1/models", async (route) => {
          const response = await route.fetch();
          const { data } = (await response.json()) as { data: { id: string }[] };
          const retired = data.find((model) => model.id === "gpt-image-1.5");
          Object.assign(retired ?? {}, { replaced_by: replacedBy });
          await route.fulfill({ response, json: { object: "list", data } });
        });
        await page.goto(local.url);
        await page.locator("#model-note").filter({ hasText: note }).waitFor();
        expect(await page.locator("#model-note").textContent()).toBe(note);
        await page.selectOption("#model", "gpt-image-2");
        expect(await page.locator("#model-note").textContent()).toBe("");
      },
    );

    it("shows an error next to the field that caused it", async () => {
      await openPage();
      await page.fill("#size", "1x1");
      await generate(quickPrompt());
      await page.locator("#error-size").filter({ hasText: "not supported" }).waitFor();
      expect(await page.getAttribute("#size", "aria-invalid")).toBe("true");
      expect(await focused()).toBe("size");
      await page.fill("#size", "auto");
      await generate("");
      await page.locator("#error-prompt").filter({ hasText: "must not be empty" }).waitFor();
      expect(await page.textContent("#error-size")).toBe("");
    });

    it("shows an error of a field that the model hides below the state", async () => {
      await openPage();
      await page.selectOption("#model", "dall-e-3");
      await generate(newPrompt("[upstream reject=n]"));
      await expectState("No image was generated");
      expect(await page.textContent("#problem")).toContain("'n'");
    });

    it("counts the prompt in code points, like the API", async () => {
      await openPage();
      await page.fill("#prompt", "🦊".repeat(1001));
      expect(await page.textContent("#prompt-count")).toBe("1001 of 1000 characters");
      expect(await page.textContent("#error-prompt")).toBe(
        "1 too many. Use at most 1000 characters.",
      );
    });

    it("shows a moderation block below the state, because no field caused it", async () => {
      await openPage();
      await generate(newPrompt("[upstream status=400 code=moderation_blocked]"));
      await expectState("No image was generated");
      expect(await page.textContent("#problem")).toContain("safety system blocked");
    });

    it("leaves the generation running when the user cancels", async () => {
      await openPage();
      const prompt = newPrompt();
      await generate(prompt);
      await expectState("Preview");
      await page.click("#cancel");
      await expectState("Cancelled. The gateway finishes the image");
      await generate(prompt);
      await expectState(/Done in \d\.\d s: (?:joined a request|cache hit)/);
    });

    it("keeps the keyboard's focus on the buttons that generate and cancel", async () => {
      await openPage();
      await page.fill("#prompt", newPrompt("[upstream gap=1000]"));
      await page.focus("#generate");
      await page.keyboard.press("Enter");
      await expectState("Preview");
      expect(await focused()).toBe("generate");
      await page.focus("#cancel");
      await page.keyboard.press("Enter");
      await expectState("Cancelled");
      expect(await focused()).toBe("generate");
      await page.keyboard.press("Enter");
      await expectState(/: (?:joined a request|cache hit)/);
      await page.focus("#another");
      await page.keyboard.press("Enter");
      await expectState("Preview");
      expect(await focused()).toBe("another");
      await expectState(/: cache miss/);
      expect(await focused()).toBe("another");
    });

    it("shows the form's request as curl, fetch and SDK code", async () => {
      await openPage();
      await page.fill("#prompt", 'it\'s a "fox"');
      await page.selectOption("#quality", "low");
      const curl = String(await page.textContent("#curl"));
      const [, quoted = ""] = /-d '(.*)'$/s.exec(curl) ?? [];
      expect(JSON.parse(quoted.replaceAll(String.raw`'\''`, "'"))).toEqual({
        model: "gpt-image-1.5",
        prompt: 'it\'s a "fox"',
        n: 1,
        size: "auto",
        quality: "low",
        response_format: "url",
      });
      expect(await page.textContent("#sdk")).toContain(`baseURL: "${local.url}/v1"`);
      expect(await page.textContent("#fetch")).toContain(
        `fetch("${local.url}/v1/images/generations"`,
      );
    });

    it("sends the complexity that the user selects, and none by default", async () => {
      await openPage();
      await page.selectOption("#model", GIF.model);
      expect(await page.textContent("#curl")).not.toContain("complexity");
      await page.selectOption("#complexity", "low");
      expect(await page.textContent("#curl")).toContain('"complexity":"low"');
      const [request] = await Promise.all([
        page.waitForRequest((request) => request.method() === "POST"),
        generate(quickPrompt()),
      ]);
      expect(request.postDataJSON()).toMatchObject({ complexity: "low", stream: true });
      await expectState(/: cache miss/);
    });

    it("keeps an image that fails to load in its history, until the gateway no longer has it", async () => {
      await openPage();
      await generate(quickPrompt());
      await expectState(/: cache miss/);
      const history = page.locator("#history");
      const reload = async (respond: (route: Route) => Promise<void>) => {
        await page.unroute("**/v1/images/gen_*/*");
        await page.route("**/v1/images/gen_*/*", respond);
        await page.reload();
      };
      for (const respond of [
        (route: Route) => route.fulfill({ status: 429 }),
        (route: Route) => route.abort(),
      ]) {
        await reload(respond);
        await history.filter({ hasText: "Not loaded. a man walks" }).waitFor();
      }
      await reload((route) => route.continue());
      await eventually(async () => expect(await naturalWidth(page, "#history img")).toBe(1024));
      await reload((route) => route.fulfill({ status: 404 }));
      await history.locator("li").waitFor({ state: "detached" });
      await reload((route) => route.continue());
      expect(await history.locator("li").count()).toBe(0);
    });

    it("adds a generated image to its history even if the file fails to load", async () => {
      await openPage();
      await page.route("**/v1/images/gen_*/*", (route) => route.abort());
      await generate(quickPrompt());
      await expectState(/: cache miss/);
      expect(await page.textContent(".image-info .hint")).toBe("Not loaded.");
      expect(await page.locator("#history li").count()).toBe(1);
    });

    it("shows an SVG of its history on the page instead of a download", async () => {
      await openPage();
      await fillForm(SVG);
      await generate(quickPrompt());
      await expectState(/: cache miss/);
      const source = await page.getAttribute("#images img", "src");
      await page.reload();
      let downloads = 0;
      page.on("download", () => (downloads += 1));
      await page.click("#history li");
      await expectState("From the history.");
      expect(await page.getAttribute("#images img", "src")).toBe(source);
      expect(await naturalWidth(page, "#images img")).toBe(1024);
      expect(downloads).toBe(0);
    });

    it("deletes its history when the user clears it", async () => {
      await openPage();
      await generate(quickPrompt());
      await expectState(/: cache miss/);
      await page.click("#clear");
      expect(await page.locator("#history img").count()).toBe(0);
      await page.reload();
      expect(await page.locator("#history img").count()).toBe(0);
    });

    it("generates on Ctrl+Enter, without a mouse", async () => {
      await openPage();
      await page.keyboard.type(quickPrompt());
      await page.keyboard.press("Control+Enter");
      await expectState(/: cache miss/);
    });

    it.each<[string, BrowserContextOptions]>([
      ["light", { colorScheme: "light" }],
      ["dark", { colorScheme: "dark" }],
      ["a phone", { viewport: { width: 360, height: 740 } }],
    ])("has no serious accessibility violations: %s", async (_, options) => {
      await openPage(options);
      await generate(quickPrompt());
      await expectState(/: cache miss/);
      await page.fill("#size", "1x1");
      await page.click("#generate");
      await page.locator("#error-size").filter({ hasText: "not supported" }).waitFor();
      await page.evaluate(axe.source);
      const violations = await page.evaluate(async () => {
        const results = await Reflect.get(globalThis, "axe").run();
        return results.violations.map((violation: { id: string; impact: string }) => violation);
      });
      const serious = (violations as { id: string; impact: string }[]).filter(({ impact }) =>
        ["serious", "critical"].includes(impact),
      );
      expect(serious).toEqual([]);
      const widths = await page.evaluate(() => {
        const root = Reflect.get(globalThis, "document").documentElement;
        return [root.scrollWidth, root.clientWidth] as const;
      });
      expect(widths[0]).toBe(widths[1]);
    });

    it("has a strict Content-Security-Policy", async () => {
      const response = await fetch(local.url);
      const policy = String(response.headers.get("content-security-policy"));
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("script-src 'self';");
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).not.toMatch(/unsafe|https?:|\*/);
      expect(response.headers.get("x-content-type-options")).toBe("nosniff");
      expect(response.headers.get("referrer-policy")).toBe("no-referrer");
      await openPage();
    });
  });

  describe("a page of another origin", () => {
    let site: Site;
    let origin: string;
    const openai = join(import.meta.dirname, "../../node_modules/openai");

    beforeAll(async () => {
      site = await startSite((request, response) => void serve(request, response));
      ({ origin } = site);
    });
    afterAll(() => site.close());

    /** Serves an empty page and the SDK's modules. */
    async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
      const [, path] = /^\/openai\/([\w./-]+)$/.exec(request.url ?? "") ?? [];
      if (path === undefined) {
        response
          .writeHead(200, { "content-type": "text/html" })
          .end("<!doctype html><title>a</title>");
        return;
      }
      const file = await readFile(join(openai, path)).catch(() => undefined);
      if (file === undefined) response.writeHead(404).end();
      else response.writeHead(200, { "content-type": "text/javascript" }).end(file);
    }

    it("generates with fetch, reads the response headers and shows the image in an <img>", async () => {
      await open(undefined, origin);
      const result = await page.evaluate(
        async ([url, prompt]) => {
          const response = await fetch(`${url}/v1/images/generations`, {
            method: "POST",
            headers: { "content-type": "application/json", authorization: "Bearer x" },
            body: JSON.stringify({ prompt, model: "dall-e-2", size: "256x256" }),
          });
          const { data } = (await response.json()) as { data: { url: string }[] };
          const image = new (Reflect.get(globalThis, "Image"))();
          image.src = data[0]?.url;
          await image.decode();
          return {
            width: image.naturalWidth as number,
            requestId: response.headers.get("x-request-id"),
            cacheStatus: response.headers.get("cache-status"),
          };
        },
        [local.url, quickPrompt()] as const,
      );
      expect(result).toEqual({
        width: 256,
        requestId: expect.stringMatching(/^req_/) as string,
        cacheStatus: "darkroom; fwd=miss; stored",
      });
      expect(pageErrors).toEqual([]);
    });

    it("reads the code of an error response", async () => {
      await open(undefined, origin);
      const code = await page.evaluate(async (url) => {
        const response = await fetch(`${url}/v1/images/generations`, { method: "POST", body: "x" });
        const { error } = (await response.json()) as { error: { code: string } };
        return error.code;
      }, local.url);
      expect(code).toBe("unsupported_media_type");
    });

    it("generates, streams and reads errors with the OpenAI SDK", async () => {
      await open(undefined, origin);
      const content = 'import OpenAI from "/openai/index.mjs"; globalThis.OpenAI = OpenAI;';
      await page.addScriptTag({ type: "module", content });
      await page.waitForFunction(() => "OpenAI" in globalThis);
      const result = await page.evaluate(
        async ([url, prompt]) => {
          const Client = Reflect.get(globalThis, "OpenAI") as typeof OpenAI;
          const client = new Client({
            apiKey: "x",
            baseURL: `${url}/v1`,
            dangerouslyAllowBrowser: true,
          });
          const generated = await client.images.generate({ prompt, model: "gpt-image-1.5" });
          const types: string[] = [];
          const events = await client.images.generate({
            prompt: `${prompt} streamed`,
            model: "gpt-image-1.5",
            stream: true,
            partial_images: 1,
          });
          for await (const event of events) types.push(event.type);
          const errorCode = await client.images
            .generate({ prompt: "" })
            .catch((error: unknown) => (error as { code: string }).code);
          return { start: generated.data?.[0]?.b64_json?.slice(0, 11), types, errorCode };
        },
        [local.url, quickPrompt()] as const,
      );
      expect(result).toEqual({
        start: "iVBORw0KGgo",
        types: ["image_generation.partial_image", "image_generation.completed"],
        errorCode: "empty_string",
      });
    });
  });
});
