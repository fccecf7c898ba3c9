/** @import { ImageRequest, Model } from "./api.js" */

/** Sizes that people ask for; which of them a model takes, its rules say. */
const COMMON_SIZES = [
  [1024, 1024],
  [1536, 1024],
  [1024, 1536],
  [2048, 2048],
  [2048, 1152],
  [1152, 2048],
  [3840, 2160],
  [2160, 3840],
];

const CHOICES = /** @type {const} */ ([
  ["quality", "qualities"],
  ["output_format", "output_formats"],
  ["background", "backgrounds"],
  ["style", "styles"],
]);

/**
 * An element of the page, which is there and of its kind, or the page is not ours.
 *
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export function control(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`no element ${id}`);
  return found;
}

/** @param {string} id */
export const element = (id) => control(id, HTMLElement);
/** @param {string} id */
const input = (id) => control(id, HTMLInputElement);
/** @param {string} id */
const select = (id) => control(id, HTMLSelectElement);
const prompt = () => control("prompt", HTMLTextAreaElement);

/** @param {Model[]} models */
export function offerModels(models) {
  const options = models.map(({ id, default: chosen }) => new Option(id, id, chosen, chosen));
  select("model").replaceChildren(...options);
}

/**
 * Offers what a model takes, and nothing else.
 *
 * @param {Model} model
 */
export function offer(model) {
  element("model-note").textContent = retirementNote(model);
  for (const [id, list] of CHOICES) {
    const values = model[list];
    const chosen = select(id).value;
    select(id).replaceChildren(...values.map((value) => new Option(value, value)));
    if (values.includes(chosen)) select(id).value = chosen;
    show(id, values.length > 1);
  }
  const sizes = sizesOf(model);
  element("sizes").replaceChildren(...sizes.map((size) => new Option(size, size)));
  element("size-rule").textContent = sizeRule(model);
  if (model.sizes.kind === "listed" && !sizes.includes(input("size").value)) {
    input("size").value = model.default_size;
  }
  if (input("size").value === "") input("size").value = model.default_size;
  input("n").max = String(model.max_images);
  if (Number(input("n").value) > model.max_images) input("n").value = String(model.max_images);
  show("n", model.max_images > 1);
  countPrompt(model);
}

/**
 * Returns when OpenAI shuts a model down, and what replaces it; an empty text for every other model.
 *
 * @param {Model} model
 */
function retirementNote({ shutdown_date: day, replaced_by: successor }) {
  if (day === null) return "";
  const isPast = Date.now() >= Date.parse(day);
  if (successor === null) return `OpenAI ${isPast ? "shut" : "shuts"} it down on ${day}.`;
  const since = isPast ? `Since ${day}` : `From ${day} on`;
  return `${since}, ${successor} generates in its place.`;
}

/**
 * Says how long the prompt is, of how long it may be; characters as the API counts them.
 *
 * @param {Model} model
 */
export function countPrompt(model) {
  const length = Array.from(prompt().value).length;
  const limit = model.prompt_max_chars;
  element("prompt-count").textContent = `${length} of ${limit} characters`;
  mark(
    "prompt",
    length > limit ? `${length - limit} too many: at most ${limit} characters are taken.` : "",
  );
}

/**
 * The request that the form stands for, without what is at its default.
 *
 * @param {Model} model
 * @returns {ImageRequest}
 */
export function readRequest(model) {
  /** @type {ImageRequest} */
  const request = { model: model.id, prompt: prompt().value, n: Number(input("n").value) };
  request["size"] = input("size").value.trim() || model.default_size;
  for (const [id, list] of CHOICES) {
    const preset = model[list][0];
    const { value } = select(id);
    if (value !== "" && value !== preset) request[id] = value;
  }
  return request;
}

/**
 * Shows a problem next to the field that it concerns.
 *
 * @param {string | null} param
 * @param {string} message
 * @returns {boolean} whether there is such a field
 */
export function showProblem(param, message) {
  if (param === null || document.getElementById(`error-${param}`) === null) return false;
  mark(param, message);
  element(param).focus();
  return true;
}

export function clearProblems() {
  for (const problem of document.querySelectorAll("form .error")) {
    mark(problem.id.slice("error-".length), "");
  }
}

/**
 * @param {string} id
 * @param {string} message
 */
function mark(id, message) {
  element(`error-${id}`).textContent = message;
  if (message === "") element(id).removeAttribute("aria-invalid");
  else element(id).setAttribute("aria-invalid", "true");
}

/**
 * @param {string} id
 * @param {boolean} isOffered
 */
function show(id, isOffered) {
  element(id).parentElement?.toggleAttribute("hidden", !isOffered);
}

/** @param {Model} model */
function sizesOf({ sizes }) {
  if (sizes.kind === "listed") return sizes.sizes;
  const allowed = COMMON_SIZES.filter(([width = 0, height = 0]) => {
    const [long, short] = [Math.max(width, height), Math.min(width, height)];
    return (
      width % sizes.multiple_of === 0 &&
      height % sizes.multiple_of === 0 &&
      long <= sizes.max_edge &&
      long <= sizes.max_aspect_ratio * short &&
      width * height >= sizes.min_pixels &&
      width * height <= sizes.max_pixels
    );
  });
  return ["auto", ...allowed.map((edges) => edges.join("x"))];
}

/** @param {Model} model */
function sizeRule({ sizes }) {
  if (sizes.kind === "listed") return sizes.sizes.join(", ");
  return `auto, or WIDTHxHEIGHT in multiples of ${sizes.multiple_of}, up to ${sizes.max_edge}`;
}
