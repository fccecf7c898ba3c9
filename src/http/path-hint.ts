import type { PathHint } from "../errors/failure.ts";

/** What clients append to their base URL, with an id or without. */
const ENDPOINT =
  /\/(?:images\/(?:generations|edits|variations|batches)|webhooks\/images|models|tokens|usage)(?:\/[^/]+)?\/*$/i;

/**
 * Returns what is wrong with a path that leads nowhere, if it ends like one of ours: then the client has
 * a wrong base URL. `undefined` for every other path.
 */
export function pathHint({ pathname, origin }: URL): PathHint | undefined {
  const [endpoint] = ENDPOINT.exec(pathname) ?? [];
  // Where the base URL is right, another one does not help.
  if (endpoint === undefined || pathname === `/v1${endpoint.replace(/\/+$/, "")}`) return undefined;
  return { problem: problemOf(pathname), origin };
}

function problemOf(pathname: string): PathHint["problem"] {
  if (/^\/+openai\//i.test(pathname)) return "azure";
  if (/^\/+v1\/+v1\//i.test(pathname)) return "double_version";
  return /\/\/|\/$/.test(pathname) ? "extra_slash" : "base_url";
}
