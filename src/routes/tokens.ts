import type { Context, Hono } from "hono";
import * as z from "zod";
import { limitRate, networkOf } from "../access/rate-limit.ts";
import { revoke } from "../access/revocation.ts";
import {
  mintToken,
  subjectSchema,
  tokenBody,
  tokenIdSchema,
  TURNSTILE_SUBJECT,
  type MintOptions,
} from "../access/token.ts";
import { turnstileBody, verifyTurnstile } from "../access/turnstile.ts";
import { parseBody } from "../contract/parse.ts";
import { GatewayError } from "../errors/failure.ts";
import { nowSeconds } from "../lib/clock.ts";
import { requireAdminOf } from "../http/admin.ts";
import type { AppEnv } from "../http/context.ts";
import { jsonBody } from "../http/json-body.ts";

/** The lifetime of a token in exchange for a Turnstile token: long enough for one visit. */
const TURNSTILE_TTL_SECONDS = 10 * 60;

const ORDER = [...Object.keys(tokenBody.shape), "turnstile_token"];

const PATH = "/v1/tokens";

const revokedToken = z.object({ jti: tokenIdSchema });
const revokedSubject = z.object({ sub: subjectSchema });

/** Registers `POST /v1/tokens`, `DELETE /v1/tokens/{jti}` and `DELETE /v1/tokens?sub=`. */
export function tokensRoutes(app: Hono<AppEnv>): void {
  app.post(PATH, async (c) => {
    // The body decides which credential is required: a Turnstile token in it, or the admin key.
    const json = await jsonBody(c);
    const options = isForTurnstile(json)
      ? await turnstileOptions(json, c)
      : await adminOptions(json, c);
    const { token, claims } = await mintToken(c.get("config").tokenSecrets, options);
    const { jti, sub, exp } = claims;
    c.get("event").account = `subject/${sub}`;
    c.header("cache-control", "no-store");
    return c.json({ token, jti, sub, expires_at: exp }, 201);
  });

  app.delete(`${PATH}/:jti`, async (c) => {
    await requireAdminOf(c);
    await revoke(c.get("config"), parseBody(revokedToken, { jti: c.req.param("jti") }, []));
    return c.body(null, 204);
  });

  app.delete(PATH, async (c) => {
    await requireAdminOf(c);
    await revoke(c.get("config"), parseBody(revokedSubject, { sub: c.req.query("sub") }, []));
    return c.body(null, 204);
  });
}

function isForTurnstile(json: unknown): json is object {
  return typeof json === "object" && json !== null && "turnstile_token" in json;
}

async function adminOptions(json: unknown, c: Context<AppEnv>): Promise<MintOptions> {
  await requireAdminOf(c);
  const { sub, ttl_seconds: ttlSeconds, ...limits } = parseBody(tokenBody, json, ORDER);
  return { sub, ttlSeconds, nowSeconds: nowSeconds(), limits };
}

/** Returns the options of a visitor's token. It is bound to the page's origin if the browser sends one. */
async function turnstileOptions(json: object, c: Context<AppEnv>): Promise<MintOptions> {
  const config = c.get("config");
  if (config.turnstile === undefined) {
    throw new GatewayError({
      code: "unknown_parameter",
      param: "turnstile_token",
      model: undefined,
    });
  }
  const ip = c.req.header("cf-connecting-ip");
  await limitRate(config, `turnstile/${networkOf(ip)}`);
  const { turnstile_token: token } = parseBody(turnstileBody, json, ORDER);
  const own = new URL(c.req.url).origin;
  const pages = [own, ...config.allowedOrigins.filter((origin) => origin !== "*")];
  const hostnames = pages.map((page) => new URL(page).hostname);
  await verifyTurnstile(token, config.turnstile, { hostnames, ip });
  const origin = c.req.header("origin");
  return {
    sub: TURNSTILE_SUBJECT,
    ttlSeconds: TURNSTILE_TTL_SECONDS,
    nowSeconds: nowSeconds(),
    limits: origin === undefined ? {} : { origins: [origin] },
  };
}
