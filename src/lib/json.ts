/** Returns the value of a JSON text; `undefined` if the text is not JSON. */
export function valueOfJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
