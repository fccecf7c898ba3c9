import { Agent, request, type IncomingHttpHeaders } from "node:http";

export interface Call {
  url: string;
  method?: "GET" | "POST";
  headers?: Record<string, string>;
  body?: string;
  /** What must come back; anything else is no measurement. */
  expect: Expectation;
}

export interface Expectation {
  status: number;
  /** The size of the body at least: an answer without its picture is not the answer. */
  minBytes?: number;
  /** How Cache-Status must begin, after the cache's name. */
  cache?: string;
}

export interface Answered {
  headers: IncomingHttpHeaders;
  bytes: number;
  /** To the last byte of the body. */
  ms: number;
  /** To the first byte of the body; to the end of a response without one. */
  firstByteMs: number;
  /** The first chunk of the body. */
  beginning: Buffer;
}

/** Long enough for the slowest case; nothing waits for ever. */
const TIMEOUT_MS = 60_000;

/** Connections stay open, as a browser's do: what is measured is the Worker and not TCP. */
const agent = new Agent({ keepAlive: true });

/**
 * Sends a request and reads its answer to the end.
 *
 * @throws when there is no answer, or another one than expected
 */
export function send({ url, method = "GET", headers = {}, body, expect }: Call): Promise<Answered> {
  const { promise, resolve, reject } = Promise.withResolvers<Answered>();
  const startMs = performance.now();
  const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
  const outgoing = request(
    url,
    { method, headers: { ...headers, ...length }, agent, timeout: TIMEOUT_MS },
    (response) => {
      let bytes = 0;
      let beginning: Buffer = Buffer.alloc(0);
      let firstByteMs: number | undefined;
      response.on("data", (chunk: Buffer) => {
        if (bytes === 0) beginning = chunk;
        firstByteMs ??= performance.now() - startMs;
        bytes += chunk.length;
      });
      response.on("error", reject);
      response.on("end", () => {
        const ms = performance.now() - startMs;
        const answered = {
          headers: response.headers,
          bytes,
          ms,
          firstByteMs: firstByteMs ?? ms,
          beginning,
        };
        const problem = differs(response.statusCode, answered, expect);
        if (problem === undefined) resolve(answered);
        else reject(new Error(`${method} ${url}: ${problem}`));
      });
    },
  );
  outgoing.on("timeout", () => outgoing.destroy(new Error(`${method} ${url}: no answer in time`)));
  outgoing.on("error", reject);
  outgoing.end(body);
  return promise;
}

function differs(
  status: number | undefined,
  { headers, bytes, beginning }: Answered,
  expect: Expectation,
): string | undefined {
  const cacheStatus = String(headers["cache-status"]);
  if (status !== expect.status) return `status ${status}: ${beginning.toString().slice(0, 200)}`;
  if (bytes < (expect.minBytes ?? 0)) return `only ${bytes} bytes`;
  if (expect.cache !== undefined && !cacheStatus.startsWith(`darkroom; ${expect.cache}`)) {
    return `cache-status ${cacheStatus}`;
  }
  return undefined;
}

/** Lets the connections go. */
export function closeConnections(): void {
  agent.destroy();
}
