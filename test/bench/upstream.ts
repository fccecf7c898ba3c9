import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** An upstream that answers at once, from memory: what it costs is not what is measured. */
export interface InstantUpstream {
  baseUrl: string;
  /** How often it was called. */
  calls(): number;
  close(): void;
}

export const IMAGE_BYTES = 1_500_000;
/** A thumbnail: of a small answer the bytes cost nothing, and the rest shows. */
export const SMALL_BYTES = 3_000;
/** In a prompt: asks for a small picture. */
export const SMALL = "small";
/** In a prompt: asks for a small picture after so many milliseconds. */
export const SLOW = "slow";
export const SLOW_MS = 1000;
/** In a prompt: requests a small image after so many milliseconds, longer than any measurement takes. */
export const LASTING = "lasting";
const LASTING_MS = 30_000;

const PNG_SIGNATURE = Buffer.from("89504e470d0a1a0a", "hex");

/** Bytes that no one compresses, with a signature that the gateway believes. */
export function picture(bytes: number): Buffer {
  return Buffer.concat([PNG_SIGNATURE, randomBytes(bytes - PNG_SIGNATURE.length)]);
}

function answer(n: number, bytes: number): Buffer {
  const data = Array.from({ length: n }, () => ({ b64_json: picture(bytes).toString("base64") }));
  const usage = { input_tokens: 10, output_tokens: 4160, total_tokens: 4170 };
  return Buffer.from(JSON.stringify({ created: 1_700_000_000, data, usage }));
}

/** A stream of one partial image and the completed one, as server-sent events. */
function events(image: string): Buffer {
  const fields = { b64_json: image, created_at: 1_700_000_000 };
  const partial = { ...fields, partial_image_index: 0 };
  const usage = { input_tokens: 10, output_tokens: 4160, total_tokens: 4170 };
  return Buffer.from(
    event("image_generation.partial_image", partial) +
      event("image_generation.completed", { ...fields, usage }),
  );
}

function event(type: string, fields: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
}

export async function startUpstream(): Promise<InstantUpstream> {
  const small = answer(1, SMALL_BYTES);
  const stream = events(picture(SMALL_BYTES).toString("base64"));
  const large = new Map([1, 4, 10].map((n) => [n, answer(n, IMAGE_BYTES)]));
  let calls = 0;
  const server = createServer((incoming, outgoing) => {
    let body = "";
    incoming.on("data", (chunk) => (body += chunk));
    incoming.on("end", () => {
      calls += 1;
      const n = Number(/"n":(\d+)/.exec(body)?.[1] ?? 1);
      const isStream = body.includes('"stream":true');
      const isSmall = body.includes(SLOW) || body.includes(SMALL);
      const bytes = isStream ? stream : isSmall ? small : large.get(n);
      if (bytes === undefined) throw new Error(`no answer of ${n} pictures is prepared`);
      outgoing.setHeader("content-type", isStream ? "text/event-stream" : "application/json");
      outgoing.setHeader("content-length", bytes.length);
      // The server keeps the process alive, not a generation that is waited for no longer.
      setTimeout(() => outgoing.end(bytes), delayMs(body)).unref();
    });
  });
  // No timeout: a Worker that reuses a connection while it is closed would answer 502.
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
