/** @import { ImageRequest } from "./api.js" */

/**
 * Returns the request as code for curl, `fetch` and the OpenAI SDK.
 *
 * @param {ImageRequest} request
 * @param {string} origin of the gateway
 * @param {boolean} needsToken whether the gateway requires a token
 * @returns {{ curl: string, fetch: string, sdk: string }}
 */
export function examples(request, origin, needsToken) {
  const body = { ...request, response_format: "url" };
  const json = JSON.stringify(body);
  const pretty = JSON.stringify(body, undefined, 2);
  return {
    // Inside single quotes, a shell leaves every character alone except the quote itself.
    curl: `curl ${origin}/v1/images/generations \\
  -H 'Content-Type: application/json' \\${needsToken ? `\n  -H "Authorization: Bearer $DARKROOM_TOKEN" \\` : ""}
  -d '${json.replaceAll("'", String.raw`'\''`)}'`,
    fetch: `const response = await fetch("${origin}/v1/images/generations", {
  method: "POST",
  headers: { "Content-Type": "application/json"${needsToken ? ", Authorization: `Bearer ${token}`" : ""} },
  body: JSON.stringify(${indent(pretty)}),
});
const { data } = await response.json();`,
    sdk: `import OpenAI from "openai";

const client = new OpenAI({ apiKey: ${needsToken ? "token" : '"unused"'}, baseURL: "${origin}/v1" });
const { data } = await client.images.generate(${pretty});`,
  };
}

/** @param {string} text */
function indent(text) {
  return text.replaceAll("\n", "\n  ");
}
