import type { Context } from "hono";
import { parseImageRequest, type ImageRequest } from "../contract/request.ts";
import type { ImageType } from "../lib/image-type.ts";
import type { AppEnv } from "./context.ts";

/**
 * Returns the valid request in a body. Its parameters are logged, even if a later check rejects it.
 *
 * @param body as parsed, not trusted
 * @param nowMs milliseconds since the epoch: a model may be retired
 * @param accept the image types that the client prefers to JSON
 * @throws {GatewayError} the first problem
 */
export function imageRequest(
  body: unknown,
  nowMs: number,
  c: Context<AppEnv>,
  accept?: readonly ImageType[],
): ImageRequest {
  const request = parseImageRequest(body, c.get("config"), nowMs, accept);
  const { model, size, quality, n } = request.spec;
  c.get("event").add({ model, size, quality, n });
  return request;
}
