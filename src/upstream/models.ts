import { z } from "zod";
import type { UpstreamConfig } from "../config/environment.ts";
import { readAll } from "../lib/streams.ts";

/** What the upstream says when it is asked for its models, which costs nothing. */
export type Listing =
  | { kind: "no_key" }
  | { kind: "unreachable" }
  /** It does not take the key. */
  | { kind: "refused"; status: number }
  /** It takes the key, as far as that can be told, and does not list its models. */
  | { kind: "unlisted"; status: number }
  | { kind: "listed"; ids: readonly string[] };

const TIMEOUT_MS = 10_000;
const ANSWER_MAX_BYTES = 1024 * 1024;

const listSchema = z.object({ data: z.array(z.object({ id: z.string() })) });

/** Asks the upstream for its models (`GET /models`, as the OpenAI API has it). */
export async function upstreamModels({ baseUrl, apiKey }: UpstreamConfig): Promise<Listing> {
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
      return [401, 402, 403].includes(status)
        ? { kind: "refused", status }
        : { kind: "unlisted", status };
    }
    const bytes = await readAll(body, ANSWER_MAX_BYTES);
    const list = listSchema.safeParse(parsed(new TextDecoder().decode(bytes)));
    if (!list.success) return { kind: "unlisted", status };
    return { kind: "listed", ids: list.data.data.map(({ id }) => id) };
  } catch {
    return { kind: "unreachable" };
  }
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
