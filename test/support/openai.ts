import OpenAI, { type ClientOptions } from "openai";
import type { Stage } from "./stage.ts";

/** Returns the official SDK with a stage's gateway as its base URL. */
export function openAiAt({ gateway }: Pick<Stage, "gateway">, options: ClientOptions = {}): OpenAI {
  return new OpenAI({ apiKey: "any", baseURL: `${gateway.url}/v1`, ...options });
}
