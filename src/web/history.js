/** @typedef {{ url: string, prompt: string }} Entry */

const KEY = "darkroom.history";
const KEPT_ENTRIES = 60;

/**
 * The pictures that this browser has made, newest first.
 *
 * @returns {Entry[]}
 */
export function readHistory() {
  try {
    /** @type {unknown} */
    const entries = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(entries) ? entries.filter(isEntry) : [];
  } catch {
    // Storage may be off, or hold what another version wrote.
    return [];
  }
}

/** @param {Entry[]} entries */
export function addToHistory(entries) {
  const urls = new Set(entries.map((entry) => entry.url));
  const others = readHistory().filter((entry) => !urls.has(entry.url));
  write([...entries, ...others].slice(0, KEPT_ENTRIES));
}

/** @param {string} url */
export function removeFromHistory(url) {
  write(readHistory().filter((entry) => entry.url !== url));
}

export function clearHistory() {
  write([]);
}

/** @param {Entry[]} entries */
function write(entries) {
  try {
    localStorage.setItem(KEY, JSON.stringify(entries));
  } catch {
    // Storage may be off or full: then there is no history, and everything else works.
  }
}

/**
 * @param {unknown} value
 * @returns {value is Entry}
 */
function isEntry(value) {
  return (
    typeof value === "object" &&
    value !== null &&
    "url" in value &&
    typeof value.url === "string" &&
    "prompt" in value &&
    typeof value.prompt === "string"
  );
}
