import type { Context, Hono } from "hono";
import type { CachedImage } from "../cache/cache.ts";
import { GatewayError } from "../errors/failure.ts";
import { clientOf } from "../generation/client.ts";
import { readingCache } from "../generation/cache-lookup.ts";
import { IMAGE_TYPES } from "../lib/image-type.ts";
import { idPattern } from "../lib/object-id.ts";
import { fileConditions } from "../http/conditions.ts";
import type { AppEnv } from "../http/context.ts";
import { fileResponse, IMMUTABLE } from "../respond/file.ts";

const ID = idPattern("gen");
/** At most ten images, and a type that is served. */
const FILE = new RegExp(`^(\\d)\\.(${IMAGE_TYPES.join("|")})$`);

/** `GET` and `HEAD /v1/images/{id}/{index}.{ext}`: public to whoever knows the id. */
export function imagesRoute(app: Hono<AppEnv>): void {
  app.get("/v1/images/:id/:file", async (c) => {
    const id = c.req.param("id");
    const [, index, type] = FILE.exec(c.req.param("file")) ?? [];
    // An address of another shape is one at which there is nothing.
    if (index === undefined || !ID.test(id)) throw new GatewayError({ code: "image_not_found" });
    const image = await c.get("event").time("cache", () => findImage(id, Number(index), c));
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

interface FoundImage extends CachedImage {
  /** Whether nobody else may keep it: the request that made it said no-store. */
  isPrivate?: boolean;
}

/** An image in KV, or, where KV does not have it yet or not at all, in the object that made it. */
async function findImage(
  id: string,
  index: number,
  c: Context<AppEnv>,
): Promise<FoundImage | undefined> {
  const kept = await readingCache({ event: c.get("event") }, () =>
    // An id does not tell the age of its images.
    c.get("cache").image(id, index, 0),
  );
  return kept ?? (await clientOf(c.get("config"), id)?.image(index));
}
