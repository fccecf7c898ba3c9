import OpenAI, { type ClientOptions } from "openai";
import sharp, { type Metadata } from "sharp";
import { expect } from "vitest";
import type { Stage } from "./stage.ts";

/** Returns the official SDK with a stage's gateway as its base URL. */
export function openAiAt({ gateway }: Pick<Stage, "gateway">, options: ClientOptions = {}): OpenAI {
  return new OpenAI({ apiKey: "any", baseURL: `${gateway.url}/v1`, ...options });
}

/** Returns the error of the API that a call of the SDK throws. */
export async function sdkErrorOf(
  work: Promise<unknown>,
): Promise<InstanceType<typeof OpenAI.APIError>> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return error instanceof OpenAI.APIError ? error : expect.fail("no error of the API");
}

/** Returns the format, the size and the frames of an image in a response of the SDK. */
export async function metadataOf(image: OpenAI.Image | undefined): Promise<Metadata> {
  const { url, b64_json: base64 } = image ?? expect.fail("no image");
  const bytes =
    url === undefined
      ? Buffer.from(String(base64), "base64")
      : await (await fetch(url)).arrayBuffer();
  return sharp(bytes).metadata();
}
