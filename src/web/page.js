import { readHealth, replaceToken, requestToken, showBudget } from "./access.js";
import { ApiError, costOf, generate, listModels } from "./api.js";
import { examples } from "./examples.js";
import {
  clearFieldErrors,
  control,
  countPrompt,
  element,
  readRequest,
  showFieldError,
  showModels,
  showOptions,
} from "./form.js";
import { addToHistory, clearHistory, readHistory, removeFromHistory } from "./history.js";
import { copyText, showHistory, showImages, showPartial } from "./images.js";

/** @import { Generation, ImageRequest, Model } from "./api.js" */
/** @import { Entry } from "./history.js" */

/** The interval at which the page updates the elapsed time. */
const TICK_MS = 100;

/** Codes of errors after which the page requests another token. */
const TOKEN_ERRORS = new Set(["missing_token", "invalid_token", "token_expired"]);

/** The largest `variant` that the API accepts. */
const MAX_VARIANT = 9999;

const form = control("form", HTMLFormElement);
const model = control("model", HTMLSelectElement);
const generateButton = element("generate");
const anotherButton = element("another");
const cancelButton = element("cancel");

/** @type {Model[]} */
let models = [];
let needsToken = false;
/** The `variant` of the next request. It stays until that is complete, so that a cancelled one can be continued. */
let variant = 0;
/** @type {AbortController | undefined} */
let running;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  void submit();
});
form.addEventListener("input", () => {
  variant = 0;
  refresh();
});
for (const id of ["model", "output_format"]) {
  element(id).addEventListener("change", () => {
    clearFieldErrors();
    showOptions(chosenModel());
    refresh();
  });
}
anotherButton.addEventListener("click", () => {
  if (running !== undefined) return;
  // Random, so that an earlier one is not repeated after a reload.
  variant = 1 + Math.floor(Math.random() * MAX_VARIANT);
  void submit();
});
cancelButton.addEventListener("click", () => running?.abort());
element("clear").addEventListener("click", () => {
  clearHistory();
  refreshHistory();
});
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!(button instanceof HTMLElement)) continue;
  const source = element(String(button.dataset["copy"]));
  button.addEventListener("click", () => void copyText(source.textContent, button));
}
element("prompt").addEventListener("keydown", (event) => {
  const isSubmit = event.key === "Enter" && (event.ctrlKey || event.metaKey);
  if (isSubmit) form.requestSubmit();
});

refreshHistory();
await load();

async function load() {
  try {
    models = await listModels();
    showModels(models);
    showOptions(chosenModel());
    refresh();
    const health = await readHealth();
    needsToken = health.access === "token";
    refresh();
    showBudget(health);
    await requestToken(health);
  } catch (error) {
    element("problem").textContent = messageOf(error);
  }
}

function chosenModel() {
  const chosen = models.find((each) => each.id === model.value) ?? models[0];
  if (chosen === undefined) throw new Error("This gateway serves no model.");
  return chosen;
}

function refresh() {
  countPrompt(chosenModel());
  const texts = examples(readRequest(chosenModel()), location.origin, needsToken);
  for (const [id, text] of Object.entries(texts)) element(id).textContent = text;
}

/** Submits the form and shows the result. */
async function submit() {
  if (running !== undefined) return;
  clearFieldErrors();
  element("problem").textContent = "";
  element("images").replaceChildren();
  const chosen = chosenModel();
  const request = readRequest(chosen);
  request["variant"] = variant;
  const prompt = String(request["prompt"]);
  // Other servers may reject the parameters of streams.
  const partialImages = chosen.quality_pattern === null ? chosen.max_partial_images : 0;
  const startedMs = performance.now();
  const seconds = () => ((performance.now() - startedMs) / 1000).toFixed(1);
  const timer = setInterval(() => {
    element("elapsed").textContent = `${seconds()} s`;
  }, TICK_MS);
  running = new AbortController();
  setRunning(true);
  cancelButton.hidden = false;
  showState("Generating …");
  let partials = 0;
  let isComplete = false;
  try {
    const generation = await generate(request, partialImages, {
      signal: running.signal,
      onPartial: (dataUrl) => {
        partials += 1;
        showState(`Preview ${partials} of ${partialImages} …`);
        showPartial(dataUrl);
      },
    });
    const elapsed = seconds();
    await showImages(generation.urls, prompt);
    showState(`Done in ${elapsed} s: ${outcome(request, generation, chosen)}.`);
    isComplete = true;
    variant = 0;
    addToHistory(generation.urls.map((url) => ({ url, prompt })));
    refreshHistory();
  } catch (error) {
    showError(error);
    if (error instanceof ApiError && TOKEN_ERRORS.has(String(error.code)))
      await replaceToken(await readHealth());
  } finally {
    clearInterval(timer);
    element("elapsed").textContent = "";
    running = undefined;
    setRunning(false);
    hide(cancelButton);
    if (isComplete) anotherButton.hidden = false;
    else hide(anotherButton);
    readHealth().then(showBudget, () => {
      // The page continues to show the last known budget.
    });
  }
}

/** @param {unknown} error */
function showError(error) {
  element("images").replaceChildren();
  if (error instanceof DOMException && error.name === "AbortError") {
    showState("Cancelled. The gateway finishes the image. Generate again to see it.");
    return;
  }
  showState("No image was generated.");
  const isShown = error instanceof ApiError && showFieldError(error.param, error.message);
  if (!isShown) element("problem").textContent = messageOf(error);
}

/** @param {unknown} error */
function messageOf(error) {
  if (error instanceof ApiError) return error.message;
  return "Cannot reach the gateway.";
}

/**
 * Describes how the gateway served a generation, and its cost.
 *
 * @param {ImageRequest} request
 * @param {Generation} generation
 * @param {Model} chosen
 */
function outcome(request, generation, chosen) {
  if (generation.cacheStatus.includes("hit")) return "cache hit, no charge";
  if (generation.cacheStatus.includes("collapsed")) {
    return "joined a request in progress, no charge";
  }
  const cost = costOf(request, generation, chosen);
  return cost === "" ? "cache miss" : `cache miss, ${cost}`;
}

/** @param {string} text */
function showState(text) {
  element("state").textContent = text;
}

/**
 * Announces the buttons as disabled while `submit` ignores them. A button with the attribute `disabled` would lose the
 * focus.
 *
 * @param {boolean} isRunning
 */
function setRunning(isRunning) {
  for (const button of [generateButton, anotherButton]) {
    button.setAttribute("aria-disabled", String(isRunning));
  }
}

/** Hides a button. If it has the focus, the Generate button gets it. @param {HTMLElement} button */
function hide(button) {
  if (document.activeElement === button) generateButton.focus();
  button.hidden = true;
}

function refreshHistory() {
  showHistory(readHistory(), {
    onOpen: (entry) => void showEntry(entry),
    onExpired: (entry) => removeFromHistory(entry.url),
  });
}

/**
 * Shows an image of the history on the page, because the gateway serves an SVG outside a page as a download.
 *
 * @param {Entry} entry
 */
async function showEntry({ url, prompt }) {
  if (running !== undefined) return;
  element("problem").textContent = "";
  anotherButton.hidden = true;
  await showImages([url], prompt);
  showState("From the history.");
  element("result").scrollIntoView();
}
