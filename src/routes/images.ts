import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { CachedImage } from "../cache/cache.ts";
import { errorResponses } from "../contract/response.ts";
import { GatewayError } from "../errors.ts";
import { handleOf } from "../generation/handle.ts";
import { readingCache } from "../generation/kept.ts";
import { IMAGE_TYPES } from "../lib/image-type.ts";
import { idPattern } from "../lib/object-id.ts";
import { fileConditions } from "../middleware/conditions.ts";
import type { AppEnv } from "../middleware/context.ts";
import { fileResponse, IMMUTABLE } from "../respond/file.ts";

const route = createRoute({
  method: "get",
  path: "/v1/images/{id}/{file}",
  summary: "One image as a file",
  request: {
    params: z.object({
      id: z.string().regex(idPattern("gen")),
      file: z
        .string()
        .regex(new RegExp(`^\\d\\.(?:${IMAGE_TYPES.join("|")})$`))
        .openapi({ example: "0.png" }),
    }),
  },
  responses: {
    200: {
      description: "The bytes",
      content: Object.fromEntries(
        IMAGE_TYPES.map((type) => [`image/${type}`, { schema: z.string() }]),
      ),
    },
    206: { description: "The range that was asked for" },
    304: { description: "The client has it already" },
    ...errorResponses,
  },
});

/** `GET` and `HEAD /v1/images/{id}/{index}.{ext}`: public to whoever knows the id. */
export function imagesRoute(app: OpenAPIHono<AppEnv>): void {
  app.openapi(
    route,
    async (c) => {
      const { id, file } = c.req.valid("param");
      const [index, type] = file.split(".");
      const image = await c.get("event").time("cache", () => findImage(id, Number(index), c));
      if (image === undefined) throw new GatewayError({ code: "image_not_found" });
      if (image.type !== type) {
        await image.body.cancel();
        throw new GatewayError({ code: "image_not_found" });
      }
      const cacheControl = image.isPrivate === true ? "private, no-store" : IMMUTABLE;
      const identity = { etag: `"${id}/${index}"`, cacheControl };
      return fileResponse(image, identity, fileConditions(c));
    },
    (result) => {
      // An address of another shape is one at which there is nothing.
      if (!result.success) throw new GatewayError({ code: "image_not_found" });
    },
  );
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
  const kept = await readingCache({ event: c.get("event") }, () => c.get("cache").image(id, index));
  return kept ?? (await handleOf(c.get("config"), id)?.image(index));
}
