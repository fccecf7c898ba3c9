import type { PathHint } from "../errors/failure.ts";

/** The paths that clients append to their base URL, with or without an id. */
const ENDPOINT =
  /\/(?:images\/(?:generations|edits|variations|batches)|webhooks\/images|models|tokens|usage)(?:\/[^/]+)?\/*$/i;

/**
 * Returns the problem of a path that has no route but ends like one of the API: the client has a wrong base
 * URL. Returns `undefined` for every other path.
 */
export function pathHint({ pathname, origin }: URL): PathHint | undefined {
  const [endpoint] = ENDPOINT.exec(pathname) ?? [];
  // If the base URL is right, the problem is another one.
  if (endpoint === undefined || pathname === `/v1${endpoint.replace(/\/+$/, "")}`) return undefined;
  return { problem: problemOf(pathname), origin };
}

function problemOf(pathname: string): PathHint["problem"] {
  if (/^\/+openai\//i.test(pathname)) return "azure";
  if (/^\/+v1\/+v1\//i.test(pathname)) return "double_version";
  return /\/\/|\/$/.test(pathname) ? "extra_slash" : "base_url";
}
