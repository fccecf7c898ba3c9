/** Text with its `code`. @param {string} text */
export function prose(text) {
  return text.split("`").map((part, index) => (index % 2 === 1 ? node("code", {}, part) : part));
}

/** Text without its marks. @param {string} text */
export function plain(text) {
  return text.replaceAll("`", "");
}

/** A block to copy. @param {string} text */
export function code(text) {
  return node("pre", { tabindex: "0" }, node("code", {}, text));
}

/**
 * An element: all text goes in as text, whatever stands in it.
 *
 * @param {string} name
 * @param {Record<string, string>} attributes
 * @param {(Node | string)[]} children
 * @returns {HTMLElement}
 */
export function node(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}
