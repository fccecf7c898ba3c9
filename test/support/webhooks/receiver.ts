import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Received } from "./hook.ts";

/** A server that accepts webhook deliveries, and records them. */
export interface Receiver {
  /** Without a trailing slash. */
  origin: string;
  close(): Promise<void>;
}

/**
 * Starts a receiver. The path lists a step for each delivery, and the last step repeats: `/<name>/503,hang,200`.
 * `GET /<name>` returns the recorded deliveries.
 *
 * | step | effect |
 * | --- | --- |
 * | `503` | responds with this status |
 * | `503+7` | the same, with a `Retry-After` of 7 seconds |
 * | `302-other` | redirects to `/other` |
 * | `late` | responds after 300 ms |
 * | `hang` | never responds |
 * | `cut` | cuts the connection |
 */
export async function startReceiver(): Promise<Receiver> {
  const received = new Map<string, Received[]>();
  const server = createServer((incoming, outgoing) => {
    const [, name = "", plan = "200"] = (incoming.url ?? "").split(/[/?]/);
    const deliveries = received.get(name) ?? [];
    received.set(name, deliveries);
    if (incoming.method === "GET") {
      outgoing.end(JSON.stringify(deliveries));
      return;
    }
    let body = "";
    incoming.on("data", (chunk) => (body += chunk));
    incoming.on("end", () => {
      const steps = plan.split(",");
      const step = steps[deliveries.length] ?? steps.at(-1) ?? "200";
      deliveries.push({ headers: Object(incoming.headers), body });
      respond(step, outgoing);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function respond(step: string, outgoing: ServerResponse): void {
  if (step === "hang") return;
  if (step === "late") {
    setTimeout(() => outgoing.end("late"), 300);
    return;
  }
  if (step === "cut") {
    outgoing.destroy();
    return;
  }
  const [, status, retryAfter, location] = /^(\d+)(?:\+(\d+))?(?:-(\S+))?$/.exec(step) ?? [];
  outgoing.writeHead(Number(status), {
    ...(retryAfter === undefined ? {} : { "retry-after": retryAfter }),
    ...(location === undefined ? {} : { location: `/${location}` }),
  });
  outgoing.end("received");
}
