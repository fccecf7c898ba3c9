import { authorization } from "./access.js";

/**
 * @typedef {object} Model What `GET /v1/models` says of a model: its rules, each list's default first.
 * @property {string} id
 * @property {string | null} shutdown_date YYYY-MM-DD, the day on which OpenAI shuts it down.
 * @property {string | null} replaced_by The model that is sent upstream from that day on.
 * @property {boolean} default
 * @property {number} prompt_max_chars
 * @property {number} max_images
 * @property {{ kind: "listed", sizes: string[] } | FreeSizes} sizes
 * @property {string} default_size
 * @property {string[]} qualities
 * @property {string[]} styles
 * @property {string[]} backgrounds
 * @property {string[]} output_formats
 * @property {number} max_partial_images
 * @property {TokenPrice | { per_image: number }} price
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

/** @typedef {{ message: string, param: string | null, code: string | null }} ApiProblem */
/** @typedef {Record<string, string | number>} ImageRequest */

/**
 * @typedef {object} Watching
 * @property {AbortSignal} signal
 * @property {boolean} anew Whether what is kept will not do.
 * @property {(dataUrl: string) => void} onPartial
 */

/** @typedef {{ urls: string[], cacheStatus: string, usage: Usage }} Made */

/** The API's own error, as it came. */
export class ApiError extends Error {
  /** @param {ApiProblem} problem */
  constructor(problem) {
    super(problem.message);
    this.param = problem.param;
    this.code = problem.code;
  }
}

/** @returns {Promise<Model[]>} */
export async function listModels() {
  const response = await fetch("/v1/models");
  if (!response.ok) throw await problemOf(response);
  return (await response.json()).data;
}

/**
 * Makes pictures: one of them as a stream, where the model can, so that it can be watched.
 *
 * @param {ImageRequest} request
 * @param {number} partialImages how many partial images the model gives
 * @param {Watching} watching
 * @returns {Promise<Made>}
 */
export async function generate(request, partialImages, watching) {
  const isStream = request["n"] === 1 && partialImages > 0;
  const streaming = isStream ? { stream: true, partial_images: partialImages } : {};
  const response = await fetch("/v1/images/generations", {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...authorization(),
      ...(watching.anew ? { "cache-control": "no-cache" } : {}),
    },
    // The cache mode stays the default: any other makes the browser add no-cache, which spends money.
    body: JSON.stringify({ ...request, ...streaming, response_format: "url" }),
    signal: watching.signal,
  });
  if (!response.ok) throw await problemOf(response);
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
    watching.onPartial(`data:image/${event.output_format ?? "png"};base64,${event.b64_json}`);
  }
  throw new ApiError({ message: "The stream ended early.", param: null, code: null });
}

/**
 * What pictures that were just made have cost, in USD.
 *
 * @param {Made} made
 * @param {Model} model
 */
export function costOf({ urls, usage }, { price }) {
  if ("per_image" in price) return price.per_image * urls.length;
  const imageIn = usage.input_tokens_details?.image_tokens ?? 0;
  const textIn = usage.input_tokens - imageIn;
  const millionths =
    textIn * price.text_in + imageIn * price.image_in + usage.output_tokens * price.image_out;
  return millionths / 1e6;
}

/** @param {Response} response */
async function problemOf(response) {
  try {
    return new ApiError((await response.json()).error);
  } catch {
    const message = `The gateway answered with status ${response.status}.`;
    return new ApiError({ message, param: null, code: null });
  }
}

/**
 * The data of each server-sent event (WHATWG HTML, 9.2); the gateway writes one line of it for each.
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
