import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** A simulator of Turnstile's siteverify endpoint, with its request and response format. */
export interface Siteverify {
  url: string;
  /** The bodies of its requests, oldest first. */
  received: Record<string, unknown>[];
  close(): Promise<void>;
}

/**
 * Starts the simulator. The prefix of a token decides the response: `good`, `bad`, `other-host`, `other-action`,
 * `html`, `status-500`, `cut`. Each token is valid once, as Turnstile's are.
 */
export async function startSiteverify(): Promise<Siteverify> {
  const received: Record<string, unknown>[] = [];
  const used = new Set<unknown>();
  const server = createServer((incoming, outgoing) => {
    let text = "";
    incoming.on("data", (chunk) => (text += chunk));
    incoming.on("end", () => {
      const body: Record<string, unknown> = JSON.parse(text);
      received.push(body);
      const token = String(body["response"]);
      if (token.startsWith("cut")) {
        outgoing.destroy();
        return;
      }
      const isUsed = used.has(token);
      used.add(token);
      const success = !token.startsWith("bad") && !isUsed;
      const verdict = {
        success,
        hostname: token.startsWith("other-host") ? "evil.example" : "127.0.0.1",
        action: token.startsWith("other-action") ? "login" : "token",
        "error-codes": success ? [] : ["invalid-input-response"],
      };
      outgoing.statusCode = token.startsWith("status-500") ? 500 : 200;
      outgoing.end(token.startsWith("html") ? "<html>" : JSON.stringify(verdict));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/siteverify`,
    received,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
