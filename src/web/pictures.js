import { element } from "./form.js";

/** @import { Entry } from "./history.js" */

/**
 * Shows a picture that is on its way.
 *
 * @param {string} dataUrl
 */
export function showPartial(dataUrl) {
  const list = element("pictures");
  const existing = list.querySelector(".coming img");
  if (existing instanceof HTMLImageElement) {
    existing.src = dataUrl;
    return;
  }
  const item = document.createElement("li");
  item.className = "coming";
  item.append(image(dataUrl, "The picture as far as it is"));
  list.replaceChildren(item);
}

/**
 * Shows the pictures that were made, each with its size and what can be done with it.
 *
 * @param {string[]} urls
 * @param {string} prompt
 */
export async function showPictures(urls, prompt) {
  const items = await Promise.all(urls.map((url) => pictureItem(url, prompt)));
  element("pictures").replaceChildren(...items);
}

/**
 * @param {string} url
 * @param {string} prompt
 */
async function pictureItem(url, prompt) {
  const item = document.createElement("li");
  const picture = image(url, prompt);
  const about = document.createElement("div");
  about.className = "about";
  const facts = document.createElement("span");
  facts.className = "hint";
  const name = url.split("/").at(-1) ?? "picture";
  const download = document.createElement("a");
  download.href = url;
  download.download = `darkroom-${name}`;
  download.textContent = "Download";
  const copy = document.createElement("button");
  copy.type = "button";
  copy.textContent = "Copy URL";
  copy.addEventListener("click", () => void copyText(url, copy));
  about.append(facts, copy, download);
  item.append(picture, about);
  const [bytes] = await Promise.all([sizeOf(url), picture.decode().catch(() => undefined)]);
  facts.textContent = `${picture.naturalWidth} × ${picture.naturalHeight}, ${bytes}`;
  return item;
}

/**
 * @param {Entry[]} entries
 * @param {(entry: Entry) => void} onGone told of each picture that is no longer kept
 */
export function showHistory(entries, onGone) {
  const items = entries.map((entry) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = entry.url;
    const picture = image(entry.url, entry.prompt);
    picture.loading = "lazy";
    picture.addEventListener("error", () => onGone(entry), { once: true });
    link.append(picture);
    item.append(link);
    return item;
  });
  element("history").replaceChildren(...items);
}

/**
 * Copies a text, and says so on the button for a moment.
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
function image(source, description) {
  const picture = new Image();
  picture.alt = description;
  picture.src = source;
  return picture;
}

/** @param {string} url */
async function sizeOf(url) {
  const response = await fetch(url, { method: "HEAD" });
  await response.arrayBuffer();
  const bytes = Number(response.headers.get("content-length"));
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1000))} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
