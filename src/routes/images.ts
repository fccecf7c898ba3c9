import type { Context, Hono, MiddlewareHandler } from "hono";
import { limitRate } from "../access/rate-limit.ts";
import { GatewayError } from "../errors/failure.ts";
import { readOrMiss } from "../generation/cache-lookup.ts";
import { clientOf } from "../generation/client.ts";
import { networkOfClient } from "../http/caller.ts";
import { fileConditions } from "../http/conditions.ts";
import type { AppEnv } from "../http/context.ts";
import { IMAGE_TYPES } from "../lib/image-type.ts";
import { idPattern } from "../lib/object-id.ts";
import { fileResponse, IMMUTABLE, type FileImage } from "../respond/file.ts";

const ID = idPattern("gen");
/** The index of one of at most ten images, and a served type. */
const FILE = new RegExp(`^(\\d)\\.(${IMAGE_TYPES.join("|")})$`);

/** Registers `GET` and `HEAD /v1/images/{id}/{index}.{ext}`: public to every client that knows the id. */
export function imagesRoute(app: Hono<AppEnv>): void {
  app.get("/v1/images/:id/:file", readableFromEveryOrigin, async (c) => {
    const id = c.req.param("id");
    const [, index, type] = FILE.exec(c.req.param("file")) ?? [];
    if (index === undefined || !ID.test(id)) throw new GatewayError({ code: "image_not_found" });
    const image = await c.get("event").time("cache", () => lookupImage(id, Number(index), c));
    if (image === undefined) throw new GatewayError({ code: "image_not_found" });
    if (image.type !== type) {
      await image.body.cancel();
      throw new GatewayError({ code: "image_not_found" });
    }
    c.get("event").add({ generation: id, bytes: image.sizeBytes });
    const cacheControl = image.isPrivate === true ? "private, no-store" : IMMUTABLE;
    const identity = { etag: `"${id}/${index}"`, cacheControl };
    return fileResponse(image, identity, fileConditions(c));
  });
}

interface ServedImage extends FileImage {
  /** True if no cache may store it: the request said `no-store`. Absent for an image from KV. */
  isPrivate?: boolean;
}

/** Makes errors readable for the pages of every origin, as the images are. */
const readableFromEveryOrigin: MiddlewareHandler<AppEnv> = async (c, next) => {
  await next();
  c.res.headers.set("access-control-allow-origin", "*");
};

/**
 * Returns an image from KV, otherwise from the Durable Object that generated it. The request is counted while
 * KV is read.
 *
 * @throws {GatewayError} `rate_limit_exceeded`
 */
async function lookupImage(
  id: string,
  index: number,
  c: Context<AppEnv>,
): Promise<ServedImage | undefined> {
  const config = c.get("config");
  const reading = readOrMiss({ event: c.get("event") }, () =>
    // The id does not tell the age of the image.
    c.get("cache").image(id, index, 0),
  );
  try {
    // Counted apart from other requests: a page with many images must not use up its visitor's limit.
    await limitRate(config, `image/${networkOfClient(c)}`);
  } catch (error) {
    c.executionCtx.waitUntil(reading.then((cached) => cached?.body.cancel()));
    throw error;
  }
  const cached = await reading;
  if (cached !== undefined) return cached;
  const image = await clientOf(config, id)?.image(index);
  return image && { ...image, isInObject: true };
}
