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

export async function startUpstream(): Promise<InstantUpstream> {
  const small = answer(1, SMALL_BYTES);
  const large = new Map([1, 4, 10].map((n) => [n, answer(n, IMAGE_BYTES)]));
  let calls = 0;
  const server = createServer((incoming, outgoing) => {
    let body = "";
    incoming.on("data", (chunk) => (body += chunk));
    incoming.on("end", () => {
      calls += 1;
      const n = Number(/"n":(\d+)/.exec(body)?.[1] ?? 1);
      const slow = body.includes(SLOW);
      const bytes = slow || body.includes(SMALL) ? small : large.get(n);
      if (bytes === undefined) throw new Error(`no answer of ${n} pictures is prepared`);
      outgoing.setHeader("content-type", "application/json");
      outgoing.setHeader("content-length", bytes.length);
      setTimeout(() => outgoing.end(bytes), slow ? SLOW_MS : 0);
    });
  });
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
