/** @import { ImageRequest, Model } from "./api.js" */

/** Suggested sizes. The page offers those that the model's rules allow. */
const COMMON_SIZES = [
  [512, 512],
  [1024, 1024],
  [1536, 1024],
  [1024, 1536],
  [2048, 2048],
  [2048, 1152],
  [1152, 2048],
  [3840, 2160],
  [2160, 3840],
];

/** The output formats with an alpha channel. Only they can have a transparent background. */
const ALPHA_FORMATS = new Set(["png", "webp"]);

/** The id of each select, and the field of `Model` that lists its options. */
const CHOICES = /** @type {const} */ ([
  ["quality", "qualities"],
  ["complexity", "complexities"],
  ["output_format", "output_formats"],
  ["background", "backgrounds"],
  ["style", "styles"],
]);

/** The ids of the fields that only a GIF has. An empty one means the default. */
const FRAME_FIELDS = ["frame_count", "frame_duration_ms"];

/**
 * Returns the element with an id.
 *
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 * @throws {Error} if the page has no such element of this kind
 */
export function control(id, kind) {
  const node = document.getElementById(id);
  if (!(node instanceof kind)) throw new Error(`No element ${id}.`);
  return node;
}

/** @param {string} id */
export const element = (id) => control(id, HTMLElement);
/** @param {string} id */
const input = (id) => control(id, HTMLInputElement);
/** @param {string} id */
const select = (id) => control(id, HTMLSelectElement);
const prompt = () => control("prompt", HTMLTextAreaElement);
const format = () => select("output_format").value;

/** @param {Model[]} models */
export function showModels(models) {
  const options = models.map(({ id, default: chosen }) => new Option(id, id, chosen, chosen));
  select("model").replaceChildren(...options);
}

/**
 * Shows only the options that a model accepts with the selected output format.
 *
 * @param {Model} model
 */
export function showOptions(model) {
  element("model-note").textContent = retirementNote(model);
  for (const [id, list] of CHOICES) {
    const values = valuesOf(model, list);
    const chosen = select(id).value;
    select(id).replaceChildren(...values.map((value) => new Option(value || "default", value)));
    if (values.includes(chosen)) select(id).value = chosen;
    setVisible(id, values.length > 1);
  }
  const sizes = sizesOf(model);
  element("sizes").replaceChildren(...sizes.map((size) => new Option(size, size)));
  element("size-rule").textContent = sizeRule(model);
  if (model.sizes.kind === "listed" && !sizes.includes(input("size").value)) {
    input("size").value = model.default_size;
  }
  if (input("size").value === "") input("size").value = model.default_size;
  const maxImages = format() === "svg" ? 1 : model.max_images;
  input("n").max = String(maxImages);
  if (Number(input("n").value) > maxImages) input("n").value = String(maxImages);
  setVisible("n", maxImages > 1);
  setVisible("quality-word", model.quality_pattern !== null);
  for (const id of FRAME_FIELDS) setVisible(id, format() === "gif");
  input("frame_count").max = String(model.max_frames);
  countPrompt(model);
}

/**
 * Returns the values of a choice, the default first. The default of `complexity` is an empty value, which the
 * request omits. Those of `background` depend on the output format, which precedes it in `CHOICES`.
 *
 * @param {Model} model
 * @param {(typeof CHOICES)[number][1]} list
 */
function valuesOf(model, list) {
  if (list === "complexities") return ["", ...model[list]];
  if (list === "backgrounds" && !ALPHA_FORMATS.has(format())) {
    return model[list].filter((value) => value !== "transparent");
  }
  return model[list];
}

/**
 * Returns a note about a model's shutdown and its replacement, or an empty string without one.
 *
 * @param {Model} model
 */
function retirementNote({ shutdown_date: day, replaced_by: successor }) {
  if (day === null) return "";
  const isPast = Date.now() >= Date.parse(day);
  if (successor === null) return `OpenAI ${isPast ? "shut" : "shuts"} this model down on ${day}.`;
  return `${isPast ? "Since" : "From"} ${day}, requests use ${successor} instead.`;
}

/**
 * Shows the prompt's length and its limit, in characters (code points) as the API counts them.
 *
 * @param {Model} model
 */
export function countPrompt(model) {
  const length = Array.from(prompt().value).length;
  const limit = model.prompt_max_chars;
  element("prompt-count").textContent = `${length} of ${limit} characters`;
  setFieldError(
    "prompt",
    length > limit ? `${length - limit} too many. Use at most ${limit} characters.` : "",
  );
}

/**
 * Returns the request that the form describes. Omits every choice that is at its default.
 *
 * @param {Model} model
 * @returns {ImageRequest}
 */
export function readRequest(model) {
  /** @type {ImageRequest} */
  const request = { model: model.id, prompt: prompt().value, n: Number(input("n").value) };
  request["size"] = input("size").value.trim() || model.default_size;
  for (const [id, list] of CHOICES) {
    const [defaultValue] = valuesOf(model, list);
    const { value } = select(id);
    if (value !== "" && value !== defaultValue) request[id] = value;
  }
  const word = input("quality-word").value.trim();
  if (model.quality_pattern !== null && word !== "") request["quality"] = word;
  for (const id of format() === "gif" ? FRAME_FIELDS : []) {
    const { value } = input(id);
    if (value !== "") request[id] = Number(value);
  }
  return request;
}

/**
 * Shows an error next to the field that caused it.
 *
 * @param {string | null} param
 * @param {string} message
 * @returns {boolean} false if the form does not show such a field
 */
export function showFieldError(param, message) {
  if (param === null || document.getElementById(`error-${param}`) === null) return false;
  if (!element(param).checkVisibility()) return false;
  setFieldError(param, message);
  element(param).focus();
  return true;
}

export function clearFieldErrors() {
  for (const error of document.querySelectorAll("form .error")) {
    setFieldError(error.id.slice("error-".length), "");
  }
}

/**
 * @param {string} id
 * @param {string} message
 */
function setFieldError(id, message) {
  element(`error-${id}`).textContent = message;
  if (message === "") element(id).removeAttribute("aria-invalid");
  else element(id).setAttribute("aria-invalid", "true");
}

/**
 * @param {string} id
 * @param {boolean} isVisible
 */
function setVisible(id, isVisible) {
  element(id).parentElement?.toggleAttribute("hidden", !isVisible);
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
  const multiples = sizes.multiple_of === 1 ? "" : ` in multiples of ${sizes.multiple_of}`;
  return `auto, or WIDTHxHEIGHT${multiples}, up to ${sizes.max_edge}`;
}
