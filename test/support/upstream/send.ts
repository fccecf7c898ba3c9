import type { ServerResponse } from "node:http";
import { numberOf, type Directives } from "./directives.ts";

/** Sends a JSON body. */
export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

/** Sends the body of a response with status 200, whole or cut, as the directives say. */
export async function send(
  response: ServerResponse,
  body: string,
  directives: Directives,
): Promise<void> {
  const bytes = Buffer.from(body);
  const isHtml = directives.get("answer") === "html";
  const isChunked = directives.get("reset") === "chunked-body";
  response.writeHead(200, {
    "content-type": isHtml ? "text/html" : "application/json",
    ...(isChunked ? {} : { "content-length": bytes.byteLength }),
    "x-upstream-secret": "not-for-clients",
    "set-cookie": "session=not-for-clients",
  });
  if (isChunked || directives.get("reset") === "body") {
    response.write(bytes.subarray(0, Math.floor(bytes.byteLength / 2)), () => response.destroy());
    return;
  }
  const slice = numberOf(directives, "slice", bytes.byteLength);
  for (let start = 0; start < bytes.byteLength; start += slice) {
    const piece = bytes.subarray(start, start + slice);
    await new Promise((resolve) => response.write(piece, resolve));
  }
  response.end();
}
