import { Agent, request, type IncomingHttpHeaders } from "node:http";

export interface Call {
  url: string;
  method?: "GET" | "POST";
  headers?: Record<string, string>;
  body?: string;
  /** The expected response. Any other is an error. */
  expect: Expectation;
}

export interface Expectation {
  status: number;
  /** The minimum size of the body, so that a response without its image is an error. */
  minBytes?: number;
  /** The prefix of Cache-Status, after the cache's name. */
  cache?: string;
}

export interface ReceivedResponse {
  headers: IncomingHttpHeaders;
  bytes: number;
  /** Time to the last byte of the body. */
  ms: number;
  /** Time to the first byte of the body, or to the end of a response without a body. */
  firstByteMs: number;
  /** The first chunk of the body. */
  firstChunk: Buffer;
}

/** Longer than any case. */
const TIMEOUT_MS = 60_000;

/** Connections stay open, as a browser's do, so that TCP is not measured. */
const agent = new Agent({ keepAlive: true });

/**
 * Sends a request and reads its response to the end.
 *
 * @throws if there is no response, or not the expected one
 */
export function send({
  url,
  method = "GET",
  headers = {},
  body,
  expect,
}: Call): Promise<ReceivedResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<ReceivedResponse>();
  const startMs = performance.now();
  const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
  const outgoing = request(
    url,
    { method, headers: { ...headers, ...length }, agent, timeout: TIMEOUT_MS },
    (response) => {
      let bytes = 0;
      let firstChunk: Buffer = Buffer.alloc(0);
      let firstByteMs: number | undefined;
      response.on("data", (chunk: Buffer) => {
        if (bytes === 0) firstChunk = chunk;
        firstByteMs ??= performance.now() - startMs;
        bytes += chunk.length;
      });
      response.on("error", reject);
      response.on("end", () => {
        const ms = performance.now() - startMs;
        const result = {
          headers: response.headers,
          bytes,
          ms,
          firstByteMs: firstByteMs ?? ms,
          firstChunk,
        };
        const problem = differs(response.statusCode, result, expect);
        if (problem === undefined) resolve(result);
        else reject(new Error(`${method} ${url}: ${problem}`));
      });
    },
  );
  outgoing.on("timeout", () =>
    outgoing.destroy(new Error(`${method} ${url}: no response in time`)),
  );
  outgoing.on("error", reject);
  outgoing.end(body);
  return promise;
}

/** A response whose body the client does not read. */
export interface OpenResponse {
  close(): void;
}

/**
 * Sends a request on a connection of its own and does not read the body of its response.
 *
 * @throws if there is no response, or not one with the expected status
 */
export function openUnread({ url, method = "GET", headers = {}, body, expect }: Call) {
  const { promise, resolve, reject } = Promise.withResolvers<OpenResponse>();
  const outgoing = request(url, { method, headers, agent: false, timeout: TIMEOUT_MS });
  outgoing.on("response", ({ statusCode }) => {
    outgoing.setTimeout(0);
    if (statusCode === expect.status) resolve({ close: () => outgoing.destroy() });
    else reject(new Error(`${method} ${url}: status ${statusCode}`));
  });
  outgoing.on("timeout", () =>
    outgoing.destroy(new Error(`${method} ${url}: no response in time`)),
  );
  outgoing.on("error", reject);
  outgoing.end(body);
  return promise;
}

function differs(
  status: number | undefined,
  { headers, bytes, firstChunk }: ReceivedResponse,
  expect: Expectation,
): string | undefined {
  const cacheStatus = String(headers["cache-status"]);
  if (status !== expect.status) return `status ${status}: ${firstChunk.toString().slice(0, 200)}`;
  if (bytes < (expect.minBytes ?? 0)) return `only ${bytes} bytes`;
  if (expect.cache !== undefined && !cacheStatus.startsWith(`darkroom; ${expect.cache}`)) {
    return `cache-status ${cacheStatus}`;
  }
  return undefined;
}

/** Closes all connections. */
export function closeConnections(): void {
  agent.destroy();
}
