import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";

/** A website of another origin than the gateway, which is at 127.0.0.1. */
export interface Site {
  origin: string;
  close(): void;
}

/** Starts a website on a port of the loopback interface. */
export async function startSite(listener: RequestListener): Promise<Site> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://localhost:${port}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
