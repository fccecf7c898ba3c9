import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import type { TestProject } from "vitest/node";
import startPeers from "../support/setup-worker.ts";
import { platformOf } from "./platform.ts";

declare module "vitest" {
  interface ProvidedContext {
    fixtureWriter: string;
  }
}

/** Starts the simulator and the receiver, and writes the fixtures: workerd has no file system. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stop = await startPeers(project);
  // The date of the commit, and its hash.
  const version = execFileSync("git", ["log", "-1", "--format=%cs-%h", "--abbrev=7"], {
    encoding: "utf8",
  }).trim();
  const folder = join(import.meta.dirname, version);
  mkdirSync(folder, { recursive: true });
  const write = (name: string, content: unknown) =>
    writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(content, null, 1)}\n`);
  write("platform", platformOf("wrangler.toml"));
  const writeFixture = async (request: IncomingMessage, response: ServerResponse) => {
    write(String(request.url).slice(1), await json(request));
    response.end();
  };
  const server = createServer((request, response) => void writeFixture(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  project.provide("fixtureWriter", `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return async () => {
    server.close();
    await stop();
  };
}
