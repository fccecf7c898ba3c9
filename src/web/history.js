/** @typedef {{ url: string, prompt: string }} Entry */

const STORAGE_KEY = "darkroom.history";
const MAX_ENTRIES = 60;

/**
 * Returns the images generated in this browser, newest first.
 *
 * @returns {Entry[]}
 */
export function readHistory() {
  try {
    /** @type {unknown} */
    const entries = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "[]");
    return Array.isArray(entries) ? entries.filter(isEntry) : [];
  } catch {
    // Storage may be disabled, or hold data of another version.
    return [];
  }
}

/** @param {Entry[]} entries */
export function addToHistory(entries) {
  const urls = new Set(entries.map((entry) => entry.url));
  const others = readHistory().filter((entry) => !urls.has(entry.url));
  write([...entries, ...others].slice(0, MAX_ENTRIES));
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
    localStorage.setItem(STORAGE_KEY, JSON.stringify(entries));
  } catch {
    // Storage may be disabled or full. The page then works without a history.
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
