import type { Hono } from "hono";
import { verifyQuery } from "../access/signed-url.ts";
import { bodyOfText } from "../contract/text-parameters.ts";
import { GatewayError } from "../errors/failure.ts";
import { generate } from "../generation/generate.ts";
import { WITHOUT_PARTIALS } from "../generation/protocol.ts";
import { POLL_MS } from "../generation/result.ts";
import { requireOneImage } from "../http/accept.ts";
import { admitImageRequest } from "../http/admit.ts";
import { GENERATIONS_PATH, WITHOUT_SIGNED_URLS } from "../http/allowed-methods.ts";
import { anonymous } from "../http/caller.ts";
import type { AppEnv } from "../http/context.ts";
import { generationContext, imageFileResponse, recordResult } from "../http/generation-response.ts";
import { imageRequest } from "../http/image-request.ts";
import { parseCacheControl } from "../lib/cache-control.ts";

/** Registers `GET /v1/images/generations?…&sig=`: for the `<img>` of a page that has no key. */
export function signedImageRoute(app: Hono<AppEnv>): void {
  app.get(GENERATIONS_PATH, async (c) => {
    const context = generationContext(c);
    const { tokenSecrets, extraParameters } = context.config;
    if (tokenSecrets.length === 0) {
      throw new GatewayError({ code: "method_not_allowed", allow: WITHOUT_SIGNED_URLS });
    }
    const nowMs = Date.now();
    const now = Math.floor(nowMs / 1000);
    const query = new URL(c.req.url).searchParams;
    const { parameters, expires } = await verifyQuery(query, tokenSecrets, now);
    const { caller, request } = await admitImageRequest(
      {
        // The signature permits the request of any client. The budget of its network is charged.
        authenticate: () => anonymous("signed-url", c),
        parse: () => {
          const request = imageRequest(bodyOfText(parameters, extraParameters), nowMs, c);
          requireOneImage(request.spec.n);
          return { request: { ...request, delivery: FILE } };
        },
      },
      c,
    );
    const result = await generate(request, { ...OPTIONS, caller, nowMs }, context);
    recordResult(result, request.spec, caller.payer, c);
    return imageFileResponse(result, `public, max-age=${expires - now}`, context, c);
  });
}

/** The response is the bytes of the image, whatever the query says. */
const FILE = { format: "b64_json", stream: false, asImage: true } as const;

/** A browser sends the same headers for every `<img>`, so they do not decide. */
const OPTIONS = {
  directives: parseCacheControl(undefined),
  idempotencyKey: undefined,
  waitsForTurn: true,
  query: { seen: WITHOUT_PARTIALS, waitMs: POLL_MS, withImages: true },
};
