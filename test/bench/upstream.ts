import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { serverSentEvent } from "../support/upstream/server-sent-event.ts";

/** An upstream that responds at once from memory, so that its cost is not measured. */
export interface InstantUpstream {
  baseUrl: string;
  /** Returns the number of calls. */
  calls(): number;
  close(): void;
}

export const IMAGE_BYTES = 1_500_000;
/** The size of a small image: its bytes cost almost nothing, so all other costs show. */
export const SMALL_BYTES = 3_000;
/** In a prompt: requests a small image. */
export const SMALL = "small";
/** In a prompt: requests a small image after `SLOW_MS`. */
export const SLOW = "slow";
export const SLOW_MS = 1000;
/** In a prompt: requests an image after `LASTING_MS`, which is longer than any measurement. */
export const LASTING = "lasting";
const LASTING_MS = 30_000;

/** Returns a directive for a prompt: requests one image of this size. */
export function sized(bytes: number): string {
  return `bytes=${bytes}`;
}

const PNG_SIGNATURE = Buffer.from("89504e470d0a1a0a", "hex");

/** Returns incompressible bytes with the signature of a PNG, which the gateway accepts as an image. */
export function imageOf(bytes: number): Buffer {
  return Buffer.concat([PNG_SIGNATURE, randomBytes(bytes - PNG_SIGNATURE.length)]);
}

function responseBody(n: number, bytes: number): Buffer {
  const data = Array.from({ length: n }, () => ({ b64_json: imageOf(bytes).toString("base64") }));
  const usage = { input_tokens: 10, output_tokens: 4160, total_tokens: 4170 };
  return Buffer.from(JSON.stringify({ created: 1_700_000_000, data, usage }));
}

/** Returns a stream of one partial image and the completed one, as server-sent events. */
function events(image: string): Buffer {
  const fields = { b64_json: image, created_at: 1_700_000_000 };
  const partial = { ...fields, partial_image_index: 0 };
  const usage = { input_tokens: 10, output_tokens: 4160, total_tokens: 4170 };
  return Buffer.from(
    serverSentEvent("image_generation.partial_image", partial) +
      serverSentEvent("image_generation.completed", { ...fields, usage }),
  );
}

/** Starts the upstream on a free port of the loopback interface. */
export async function startUpstream(): Promise<InstantUpstream> {
  const small = responseBody(1, SMALL_BYTES);
  const stream = events(imageOf(SMALL_BYTES).toString("base64"));
  const large = new Map([1, 4, 10].map((n) => [n, responseBody(n, IMAGE_BYTES)]));
  let calls = 0;
  const server = createServer((incoming, outgoing) => {
    let body = "";
    incoming.on("data", (chunk) => (body += chunk));
    incoming.on("end", () => {
      calls += 1;
      const n = Number(/"n":(\d+)/.exec(body)?.[1] ?? 1);
      const isStream = body.includes('"stream":true');
      const isSmall = body.includes(SLOW) || body.includes(SMALL);
      const size = /bytes=(\d+)/.exec(body)?.[1];
      const bytes = isStream
        ? stream
        : isSmall
          ? small
          : size === undefined
            ? large.get(n)
            : responseBody(1, Number(size));
      if (bytes === undefined) throw new Error(`no response with ${n} images is prepared`);
      outgoing.setHeader("content-type", isStream ? "text/event-stream" : "application/json");
      outgoing.setHeader("content-length", bytes.length);
      // The timer must not keep the process alive after the server is closed.
      setTimeout(() => outgoing.end(bytes), delayMs(body)).unref();
    });
  });
  // No timeout: a Worker that reuses a connection while it is closed would return 502.
  server.keepAliveTimeout = 0;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    calls: () => calls,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function delayMs(body: string): number {
  if (body.includes(LASTING)) return LASTING_MS;
  return body.includes(SLOW) ? SLOW_MS : 0;
}
