import type { Hono } from "hono";
import { GatewayError } from "../errors/failure.ts";
import type { AppEnv } from "../http/context.ts";
import { within } from "../lib/within.ts";

/** The origin of the widget's script and frame (Turnstile documentation, "Content Security Policy"). */
const TURNSTILE_ORIGIN = "https://challenges.cloudflare.com";

/** The time that the platform's assets may take. */
const ASSET_MS = 10_000;

/** Registers `GET /`: the page. Its policy allows the Turnstile widget if one is configured. */
export function pageRoute(app: Hono<AppEnv>): void {
  app.get("/", async (c) => {
    const { assets, turnstile } = c.get("config");
    if (assets === undefined) throw new GatewayError({ code: "not_found", hint: undefined });
    const page = await within(ASSET_MS, assets.fetch(c.req.raw));
    const headers = new Headers(page.headers);
    const policy = headers.get("content-security-policy");
    if (policy !== null && turnstile?.siteKey !== undefined) {
      headers.set("content-security-policy", allowingTurnstile(policy));
    }
    return new Response(page.body, { status: page.status, headers });
  });
}

function allowingTurnstile(policy: string): string {
  const script = policy.replace("script-src 'self'", `script-src 'self' ${TURNSTILE_ORIGIN}`);
  return `${script}; frame-src ${TURNSTILE_ORIGIN}`;
}
