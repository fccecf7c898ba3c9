import type { Context, Hono } from "hono";
import { limitRate, networkOf } from "../access/rate-limit.ts";
import { verifyQuery } from "../access/signed-url.ts";
import { parseImageRequest } from "../contract/request.ts";
import { GatewayError } from "../errors/failure.ts";
import { result } from "../generation/result.ts";
import { generate } from "../generation/generate.ts";
import { parseCacheControl } from "../lib/cache-control.ts";
import { requireOneImage } from "../http/accept.ts";
import { anonymous } from "../http/caller.ts";
import { fileConditions } from "../http/conditions.ts";
import type { AppEnv } from "../http/context.ts";
import { fileResponse } from "../respond/file.ts";
import { answered, firstImage, generationContext, noteFound } from "../http/generation-response.ts";

/** A page's image says nothing about what is kept; and no browser asks for one again. */
const NO_DIRECTIVES = { directives: parseCacheControl(undefined), idempotencyKey: undefined };

const PATH = "/v1/images/generations";

/** The methods of that path where no URL can be signed. */
const POST_ONLY = ["POST"];

/** Returns the methods that a request's URL accepts, of those that its path is registered with. */
export function methodsHere(methods: readonly string[], c: Context<AppEnv>): readonly string[] {
  return c.req.path === PATH && c.get("config").tokenSecrets.length === 0 ? POST_ONLY : methods;
}

/** `GET /v1/images/generations?…&sig=`: for the `<img>` of a page that holds no key. */
export function signedImageRoute(app: Hono<AppEnv>): void {
  app.get(PATH, async (c) => {
    const context = generationContext(c);
    const { tokenSecrets } = context.config;
    if (tokenSecrets.length === 0) {
      throw new GatewayError({ code: "method_not_allowed", allow: POST_ONLY });
    }
    const nowMs = Date.now();
    const now = Math.floor(nowMs / 1000);
    const query = new URL(c.req.url).searchParams;
    const { parameters, expires } = await verifyQuery(query, tokenSecrets, now);
    const request = parseImageRequest(fromQuery(parameters), context.config, nowMs);
    requireOneImage(request.n);
    request.response_format = "b64_json";
    const { model, size, quality, n } = request;
    context.event.add({ model, size, quality, n });
    // The signature is the permission, whoever shows it; who that is, is counted by network.
    const requester = anonymous("signed-url", networkOf(c.req.header("cf-connecting-ip")));
    context.event.account = requester.payer.account;
    await limitRate(context.config, "requests", requester.rateKey);
    const found = await generate(
      request,
      { ...NO_DIRECTIVES, requester, nowMs, waitsForTurn: true },
      context,
    );
    noteFound(found, request, requester.payer, c);
    const made =
      found.kind === "made"
        ? found
        : await context.event.time("upstream", () => result(found, { withImages: true }));
    if (made === undefined) throw new GatewayError({ code: "generation_not_found" });
    const { image, open } = firstImage(made);
    const identity = {
      etag: `"${made.record.id}/0"`,
      cacheControl: `public, max-age=${expires - now}`,
    };
    const file = { type: image.type, sizeBytes: image.bytes, body: await open() };
    return answered(await fileResponse(file, identity, fileConditions(c)), made, c);
  });
}

/** The parameters of a query as a body: those that are whole numbers as numbers. */
function fromQuery(parameters: Record<string, string>): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [
      name,
      NUMBERS.has(name) && /^\d+$/.test(value) ? Number(value) : value,
    ]),
  );
}

const NUMBERS: ReadonlySet<string> = new Set(["n", "output_compression"]);
