import { element } from "./form.js";

/** @import { Entry } from "./history.js" */

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
  facts.textContent = `${image.naturalWidth} × ${image.naturalHeight}, ${await sizeOf(url)}`;
  return item;
}

/**
 * Shows the history.
 *
 * @param {Entry[]} entries
 * @param {(entry: Entry) => void} onExpired called for each image that the gateway no longer stores
 */
export function showHistory(entries, onExpired) {
  const items = entries.map((entry) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = entry.url;
    const image = createImage(entry.url, entry.prompt);
    image.loading = "lazy";
    image.addEventListener("error", () => onExpired(entry), { once: true });
    link.append(image);
    item.append(link);
    return item;
  });
  element("history").replaceChildren(...items);
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
 */
async function sizeOf(url) {
  const response = await fetch(url);
  const { size: bytes } = await response.blob();
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1000))} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
