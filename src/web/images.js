import { element } from "./form.js";
import { node } from "./nodes.js";

/** @import { Entry } from "./history.js" */

const NOT_LOADED = "Not loaded.";

/**
 * Shows a partial image.
 *
 * @param {string} dataUrl
 */
export function showPartial(dataUrl) {
  const list = element("images");
  const existing = list.querySelector(".partial img");
  if (existing instanceof HTMLImageElement) {
    existing.src = dataUrl;
    return;
  }
  const item = document.createElement("li");
  item.className = "partial";
  item.append(createImage(dataUrl, "Unfinished image"));
  list.replaceChildren(item);
}

/**
 * Shows the generated images, each with its size, a download link and a button that copies its URL.
 *
 * @param {string[]} urls
 * @param {string} prompt
 */
export async function showImages(urls, prompt) {
  const items = await Promise.all(urls.map((url) => imageItem(url, prompt)));
  element("images").replaceChildren(...items);
}

/**
 * @param {string} url
 * @param {string} prompt
 */
async function imageItem(url, prompt) {
  const item = document.createElement("li");
  const image = createImage(url, prompt);
  const details = document.createElement("div");
  details.className = "image-info";
  const facts = document.createElement("span");
  facts.className = "hint";
  const name = url.split("/").at(-1) ?? "image";
  const download = document.createElement("a");
  download.href = url;
  download.download = `darkroom-${name}`;
  download.textContent = "Download";
  const copy = document.createElement("button");
  copy.type = "button";
  copy.textContent = "Copy URL";
  copy.addEventListener("click", () => void copyText(url, copy));
  details.append(facts, copy, download);
  item.append(image, details);
  await image.decode().catch(() => undefined);
  facts.textContent = await sizeOf(url).then(
    (size) => `${image.naturalWidth} × ${image.naturalHeight}, ${size}`,
    () => NOT_LOADED,
  );
  return item;
}

/**
 * @typedef {object} HistoryHandlers
 * @property {(entry: Entry) => void} onOpen called for an image that the user selects
 * @property {(entry: Entry) => void} onExpired called for each image that the gateway no longer stores
 */

/**
 * Shows the history. An image that fails to load for another reason than expiry stays, and is loaded again with the
 * next list.
 *
 * @param {Entry[]} entries
 * @param {HistoryHandlers} handlers
 */
export function showHistory(entries, { onOpen, onExpired }) {
  const items = entries.map((entry) => {
    const image = createImage(entry.url, entry.prompt);
    image.loading = "lazy";
    const button = node("button", { type: "button" }, image);
    button.addEventListener("click", () => onOpen(entry));
    const item = node("li", {}, button);
    const onError = async () => {
      if (await isExpired(entry.url)) {
        item.remove();
        onExpired(entry);
      } else {
        image.replaceWith(node("span", { class: "hint" }, `${NOT_LOADED} ${entry.prompt}`));
      }
    };
    image.addEventListener("error", () => void onError(), { once: true });
    return item;
  });
  element("history").replaceChildren(...items);
}

/**
 * Returns true if the gateway no longer stores an image. Any other failure may be temporary, such as a rate limit.
 *
 * @param {string} url
 */
async function isExpired(url) {
  const response = await fetch(url, { method: "HEAD" }).catch(() => undefined);
  return response?.status === 404;
}

/**
 * Copies a text, and confirms it on the button for 1.5 seconds.
 *
 * @param {string} text
 * @param {HTMLElement} button
 */
export async function copyText(text, button) {
  const label = button.textContent;
  await navigator.clipboard.writeText(text);
  button.textContent = "Copied";
  setTimeout(() => {
    button.textContent = label;
  }, 1500);
}

/**
 * @param {string} source
 * @param {string} description
 */
function createImage(source, description) {
  const image = new Image();
  image.alt = description;
  image.src = source;
  return image;
}

/**
 * Returns the size of a file, from the browser's cache after its image was shown. Cloudflare compresses SVG, so its
 * Content-Length may be absent.
 *
 * @param {string} url
 * @throws {Error} if the file cannot be loaded
 */
async function sizeOf(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} has status ${response.status}.`);
  const { size: bytes } = await response.blob();
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1000))} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
