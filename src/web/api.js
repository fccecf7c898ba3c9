import { authorization } from "./access.js";

/**
 * @typedef {object} Model A model and its rules, from `GET /v1/models`. The first item of each list is the default,
 *   except in `complexities`.
 * @property {string} id
 * @property {string | null} shutdown_date The day on which OpenAI shuts the model down, YYYY-MM-DD.
 * @property {string | null} replaced_by The model that the gateway sends upstream from that day.
 * @property {boolean} default
 * @property {number} prompt_max_chars
 * @property {number} max_images
 * @property {{ kind: "listed", sizes: string[] } | FreeSizes} sizes
 * @property {string} default_size
 * @property {string[]} qualities
 * @property {string | null} quality_pattern The form of further qualities of a model of another server; null if the list
 *   is complete.
 * @property {string[]} styles
 * @property {string[]} backgrounds
 * @property {string[]} output_formats
 * @property {string[]} complexities Without a default.
 * @property {number} max_frames Of a GIF.
 * @property {number} max_partial_images
 * @property {TokenPrice | { per_image: number }} price Of an image of the default size and quality.
 */

/**
 * @typedef {object} TokenPrice USD per million tokens.
 * @property {number} text_in
 * @property {number} image_in
 * @property {number} image_out
 */

/**
 * @typedef {object} Usage
 * @property {number} input_tokens
 * @property {number} output_tokens
 * @property {{ image_tokens?: number }} [input_tokens_details]
 */

/**
 * @typedef {object} FreeSizes
 * @property {"free"} kind
 * @property {number} multiple_of
 * @property {number} max_edge
 * @property {number} max_aspect_ratio
 * @property {number} min_pixels
 * @property {number} max_pixels
 */

/** @typedef {{ message: string, param: string | null, code: string | null }} ErrorBody */
/** @typedef {Record<string, string | number>} ImageRequest */

/**
 * @typedef {object} GenerateOptions
 * @property {AbortSignal} signal
 * @property {(dataUrl: string) => void} onPartial
 */

/** @typedef {{ urls: string[], cacheStatus: string, usage: Usage }} Generation */

/** The output formats that the API does not stream. */
const NOT_STREAMED = new Set(["gif", "svg"]);

/** An error response of the API. */
export class ApiError extends Error {
  /** @param {ErrorBody} error */
  constructor(error) {
    super(error.message);
    this.param = error.param;
    this.code = error.code;
  }
}

/** @returns {Promise<Model[]>} */
export async function listModels() {
  const response = await fetch("/v1/models");
  if (!response.ok) throw await errorOf(response);
  return (await response.json()).data;
}

/**
 * Generates images. Streams a single image if the model and the format allow it, so that the page shows partial
 * images.
 *
 * @param {ImageRequest} request
 * @param {number} partialImages how many partial images the model supports
 * @param {GenerateOptions} options
 * @returns {Promise<Generation>}
 */
export async function generate(request, partialImages, options) {
  const isStream =
    request["n"] === 1 && partialImages > 0 && !NOT_STREAMED.has(String(request["output_format"]));
  const streaming = isStream ? { stream: true, partial_images: partialImages } : {};
  const response = await fetch("/v1/images/generations", {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...authorization(),
    },
    // Keeps the default cache mode. With any other the browser adds no-cache, which spends money.
    body: JSON.stringify({ ...request, ...streaming, response_format: "url" }),
    signal: options.signal,
  });
  if (!response.ok) throw await errorOf(response);
  const cacheStatus = response.headers.get("cache-status") ?? "";
  if (!isStream) {
    /** @type {{ data: { url: string }[], usage: Usage }} */
    const { data, usage } = await response.json();
    return { urls: data.map((item) => item.url), cacheStatus, usage };
  }
  for await (const event of eventsOf(response)) {
    if (event.type === "error") throw new ApiError(event.error);
    if (event.type === "image_generation.completed") {
      return { urls: [event.url], cacheStatus, usage: event.usage };
    }
    options.onPartial(`data:image/${event.output_format ?? "png"};base64,${event.b64_json}`);
  }
  throw new ApiError({
    message: "The stream ended before the image was complete.",
    param: null,
    code: null,
  });
}

/**
 * Returns the cost of a generation as a text, or an empty string if the page cannot tell it. `GET /v1/models` has no
 * price of the model that writes an SVG, and none of other sizes and qualities. The gateway charges at least the
 * reported tokens, and more if they are implausibly few.
 *
 * @param {ImageRequest} request
 * @param {Generation} generation
 * @param {Model} model
 */
export function costOf(request, { urls, usage }, { price, default_size: defaultSize }) {
  if (request["output_format"] === "svg") return "";
  if ("per_image" in price) {
    const isDefault = request["size"] === defaultSize && request["quality"] === undefined;
    return isDefault ? `cost $${(price.per_image * urls.length).toFixed(4)}` : "";
  }
  if (usage.output_tokens === 0) return "";
  const imageIn = usage.input_tokens_details?.image_tokens ?? 0;
  const textIn = Math.max(0, usage.input_tokens - imageIn);
  const millionths =
    textIn * price.text_in + imageIn * price.image_in + usage.output_tokens * price.image_out;
  return `cost at least $${(millionths / 1e6).toFixed(4)}`;
}

/** @param {Response} response */
async function errorOf(response) {
  try {
    return new ApiError((await response.json()).error);
  } catch {
    const message = `The gateway responded with status ${response.status}.`;
    return new ApiError({ message, param: null, code: null });
  }
}

/**
 * Yields the data of each server-sent event (WHATWG HTML, 9.2). The gateway writes one data line per
 * event.
 *
 * @param {Response} response
 * @returns {AsyncGenerator<any, void>}
 */
async function* eventsOf(response) {
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  let text = "";
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const data = block.split("\n").find((line) => line.startsWith("data: "));
      if (data !== undefined) yield JSON.parse(data.slice("data: ".length));
    }
  }
}
