import type { Config } from "../../src/config/environment.ts";
import { parseImageRequest } from "../../src/contract/request.ts";
import { requestKey } from "../../src/generation/key.ts";

/** Returns the cache key of a request, under a configuration. */
export function requestKeyOf(body: unknown, config: Config): Promise<string> {
  return requestKey(parseImageRequest(body, config, Date.now()).spec, config.upstream.baseUrl);
}
