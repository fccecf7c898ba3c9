import { askAgain, askForToken, readTerms, showBudget } from "./access.js";
import { ApiError, costOf, generate, listModels } from "./api.js";
import { examples } from "./examples.js";
import {
  clearProblems,
  control,
  countPrompt,
  element,
  offer,
  offerModels,
  readRequest,
  showProblem,
} from "./form.js";
import { addToHistory, clearHistory, readHistory, removeFromHistory } from "./history.js";
import { copyText, showHistory, showPartial, showPictures } from "./pictures.js";

/** @import { Made, Model } from "./api.js" */

/** How often the elapsed time is shown anew. */
const TICK_MS = 100;

/** What is said of a token that is missing, or not good. */
const TOKEN_PROBLEMS = new Set(["missing_token", "invalid_token", "token_expired"]);

const form = control("form", HTMLFormElement);
const model = control("model", HTMLSelectElement);
const generateButton = control("generate", HTMLButtonElement);

/** @type {Model[]} */
let models = [];
let needsToken = false;
/** @type {AbortController | undefined} */
let running;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  void make(false);
});
form.addEventListener("input", () => refresh());
model.addEventListener("change", () => {
  clearProblems();
  offer(chosenModel());
  refresh();
});
element("another").addEventListener("click", () => void make(true));
element("cancel").addEventListener("click", () => running?.abort());
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
  const isSend = event.key === "Enter" && (event.ctrlKey || event.metaKey);
  if (isSend) form.requestSubmit();
});

refreshHistory();
await begin();

async function begin() {
  try {
    models = await listModels();
    offerModels(models);
    offer(chosenModel());
    refresh();
    const terms = await readTerms();
    needsToken = terms.access === "token";
    refresh();
    showBudget(terms);
    await askForToken(terms);
  } catch (error) {
    element("problem").textContent = sentence(error);
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

/**
 * Makes what the form asks for.
 *
 * @param {boolean} anew whether what is kept will not do
 */
async function make(anew) {
  if (running !== undefined) return;
  clearProblems();
  element("problem").textContent = "";
  element("pictures").replaceChildren();
  const chosen = chosenModel();
  const request = readRequest(chosen);
  const prompt = String(request["prompt"]);
  const startedMs = performance.now();
  const seconds = () => ((performance.now() - startedMs) / 1000).toFixed(1);
  const timer = setInterval(() => {
    element("elapsed").textContent = `${seconds()} s`;
  }, TICK_MS);
  running = new AbortController();
  setRunning(true);
  say("Waiting for the picture …");
  let partials = 0;
  let isMade = false;
  try {
    const made = await generate(request, chosen.max_partial_images, {
      signal: running.signal,
      anew,
      onPartial: (dataUrl) => {
        partials += 1;
        say(`It is coming: ${partials} of ${chosen.max_partial_images} …`);
        showPartial(dataUrl);
      },
    });
    const took = seconds();
    await showPictures(made.urls, prompt);
    say(`Done in ${took} s: ${outcome(made, chosen)}.`);
    isMade = true;
    addToHistory(made.urls.map((url) => ({ url, prompt })));
    refreshHistory();
  } catch (error) {
    tell(error);
    if (error instanceof ApiError && TOKEN_PROBLEMS.has(String(error.code)))
      await askAgain(await readTerms());
  } finally {
    clearInterval(timer);
    element("elapsed").textContent = "";
    running = undefined;
    setRunning(false);
    element("another").hidden = !isMade;
    readTerms().then(showBudget, () => {
      // What is left is shown as it was known last.
    });
  }
}

/** @param {unknown} error */
function tell(error) {
  element("pictures").replaceChildren();
  if (error instanceof DOMException && error.name === "AbortError") {
    say("You left. The picture is still being made, and will be here when you ask for it again.");
    return;
  }
  say("There is no picture.");
  const isShown = error instanceof ApiError && showProblem(error.param, error.message);
  if (!isShown) element("problem").textContent = sentence(error);
}

/** @param {unknown} error */
function sentence(error) {
  if (error instanceof ApiError) return error.message;
  return "The gateway cannot be reached.";
}

/**
 * @param {Made} made
 * @param {Model} chosen
 */
function outcome(made, chosen) {
  if (made.cacheStatus.includes("hit")) return "a hit, it was made before and cost nothing";
  if (made.cacheStatus.includes("collapsed")) {
    return "collapsed, somebody else had just asked for it and pays";
  }
  return `a miss, made just now for $${costOf(made, chosen).toFixed(4)}`;
}

/** @param {string} text */
function say(text) {
  element("state").textContent = text;
}

/** @param {boolean} isRunning */
function setRunning(isRunning) {
  generateButton.disabled = isRunning;
  element("cancel").hidden = !isRunning;
  element("another").hidden = true;
}

function refreshHistory() {
  const entries = readHistory();
  element("clear").hidden = entries.length === 0;
  showHistory(entries, (entry) => {
    removeFromHistory(entry.url);
    refreshHistory();
  });
}
