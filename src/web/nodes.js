/** Returns text with each part in backticks as a `code` element. @param {string} text */
export function prose(text) {
  return text.split("`").map((part, index) => (index % 2 === 1 ? node("code", {}, part) : part));
}

/** Returns text without backticks. @param {string} text */
export function plain(text) {
  return text.replaceAll("`", "");
}

/** Returns a code block. @param {string} text */
export function code(text) {
  return node("pre", { tabindex: "0" }, node("code", {}, text));
}

/**
 * Creates an element. Strings become text nodes, so that they are never parsed as HTML.
 *
 * @param {string} name
 * @param {Record<string, string>} attributes
 * @param {(Node | string)[]} children
 * @returns {HTMLElement}
 */
export function node(name, attributes, ...children) {
  const created = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes))
    created.setAttribute(attribute, value);
  created.append(...children);
  return created;
}
