import * as z from "zod";
import type { UpstreamConfig } from "../config/environment.ts";
import { valueOfJson } from "../lib/json.ts";
import { readAll } from "../lib/streams.ts";
import { ACCOUNT_STATUSES } from "./error-response.ts";

/** The outcome of listing the upstream's models. */
export type ModelListing =
  | { kind: "no_key" }
  | { kind: "unreachable" }
  | { kind: "key_rejected"; status: number }
  /** The upstream responded without a list. It did not reject the key, but may not have checked it. */
  | { kind: "unlisted"; status: number }
  | { kind: "listed"; ids: readonly string[] };

const TIMEOUT_MS = 10_000;
const RESPONSE_MAX_BYTES = 1024 * 1024;

const listSchema = z.object({ data: z.array(z.object({ id: z.string() })) });

/** Lists the upstream's models with `GET /models` of the OpenAI API, which costs nothing. */
export async function listUpstreamModels({
  baseUrl,
  apiKey,
}: UpstreamConfig): Promise<ModelListing> {
  if (apiKey === undefined) return { kind: "no_key" };
  try {
    const response = await fetch(`${baseUrl}/models`, {
      headers: { authorization: `Bearer ${apiKey}`, accept: "application/json" },
      redirect: "manual",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const { status, body } = response;
    if (!response.ok || body === null) {
      await body?.cancel();
      return ACCOUNT_STATUSES.has(status)
        ? { kind: "key_rejected", status }
        : { kind: "unlisted", status };
    }
    const bytes = await readAll(body, RESPONSE_MAX_BYTES);
    const list = listSchema.safeParse(valueOfJson(new TextDecoder().decode(bytes)));
    if (!list.success) return { kind: "unlisted", status };
    return { kind: "listed", ids: list.data.data.map(({ id }) => id) };
  } catch {
    return { kind: "unreachable" };
  }
}
