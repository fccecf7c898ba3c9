import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mintToken } from "../../src/access/token.ts";
import { browserPath, startBrowser } from "../support/browser.ts";
import { startStage } from "../support/stage.ts";
import { TOKEN_SECRET } from "../support/vars.ts";
import { newPrompt } from "../support/bodies.ts";

const FRIEND = "http://friend.localhost";
const stage = startStage({ ACCESS: "token", ALLOWED_ORIGINS: `${FRIEND}:1` });

/** The result of a script's request: a response, or only a failure. */
type Outcome = { status: number } | "blocked";

interface AttackInit {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  mode?: "no-cors";
}

describe.skipIf(browserPath === undefined)("a page of a foreign origin", () => {
  let browser: Browser;
  let server: Server;
  let page: Page;
  let origin: string;

  beforeAll(async () => {
    server = createServer((request, response) => {
      const framed = `<iframe src="${stage.gateway.url}/v1/models"></iframe>`;
      response.setHeader("content-type", "text/html");
      response.end(
        `<!doctype html><title>An attack</title>${request.url === "/frame" ? framed : ""}`,
      );
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    origin = `http://localhost:${(server.address() as AddressInfo).port}`;
    browser = await startBrowser();
    page = await browser.newPage();
    await page.goto(origin);
  }, 60_000);

  afterAll(async () => {
    await browser.close();
    server.close();
  });

  async function token(origins?: string[]): Promise<string> {
    const limits = origins === undefined ? {} : { origins };
    const nowSeconds = Math.floor(Date.now() / 1000);
    const minted = await mintToken([TOKEN_SECRET], {
      sub: "web",
      ttlSeconds: 60,
      nowSeconds,
      limits,
    });
    return minted.token;
  }

  /** Sends a request from a script of the page. */
  function attack(path: string, init: AttackInit): Promise<Outcome> {
    return page.evaluate(
      async ({ url, options }) => {
        try {
          const response = await fetch(url, options);
          return { status: response.status };
        } catch {
          return "blocked" as const;
        }
      },
      { url: `${stage.gateway.url}${path}`, options: init },
    );
  }

  const body = (prompt: string) => JSON.stringify({ prompt, model: "dall-e-2", size: "256x256" });

  it("cannot generate an image with a stolen token or read the error response", async () => {
    const prompt = newPrompt();
    const stolen = await token([`${FRIEND}:1`]);
    const outcome = await attack("/v1/images/generations", {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${stolen}` },
      body: body(prompt),
    });
    expect(outcome).toBe("blocked");
    expect(stage.upstream.received(prompt)).toEqual([]);
  });

  it("cannot generate an image with a no-cors request, which sends no preflight", async () => {
    const prompt = newPrompt();
    const outcome = await attack("/v1/images/generations", {
      method: "POST",
      mode: "no-cors",
      headers: { "content-type": "text/plain" },
      body: body(prompt),
    });
    // An opaque response: the script cannot read its status.
    expect(outcome).toEqual({ status: 0 });
    expect(stage.upstream.received(prompt)).toEqual([]);
  });

  it("cannot create tokens, revoke tokens or read the usage", async () => {
    const headers = { authorization: "Bearer guessed", "content-type": "application/json" };
    expect(
      await attack("/v1/tokens", {
        method: "POST",
        headers,
        body: JSON.stringify({ sub: "web", ttl_seconds: 60 }),
      }),
    ).toBe("blocked");
    expect(await attack("/v1/tokens?sub=web", { method: "DELETE", headers })).toBe("blocked");
    expect(await attack("/v1/usage", { headers })).toBe("blocked");
  });

  it("cannot show a response of the gateway in a frame", async () => {
    await page.goto(`${origin}/frame`);
    await expect
      .poll(() => page.frames().map((frame) => frame.url()))
      .toContain("chrome-error://chromewebdata/");
  });

  it("receives CORS headers only if the operator lists its origin", async () => {
    const preflight = (from: string) =>
      fetch(`${stage.gateway.url}/v1/images/generations`, {
        method: "OPTIONS",
        headers: {
          origin: from,
          "access-control-request-method": "POST",
          "access-control-request-headers": "authorization, content-type, cookie2, x-own",
        },
      });
    const friend = await preflight(`${FRIEND}:1`);
    expect(friend.headers.get("access-control-allow-origin")).toBe(`${FRIEND}:1`);
    expect(friend.headers.get("access-control-allow-headers")).toBe(
      "authorization,content-type,x-own",
    );
    expect(friend.headers.get("vary")).toMatch(/origin/i);
    expect((await preflight(origin)).headers.get("access-control-allow-origin")).toBeNull();
  });
});
