import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { read, startStage } from "../support/stage.ts";
import { eventually } from "../support/eventually.ts";
import { expectCleanLogs, PRIVATE_TEXT } from "../support/expect-fault.ts";
import { newPrompt, SMALL, STREAM } from "../support/bodies.ts";

const stage = startStage();
const { calls } = stage;

afterEach(() => {
  expectCleanLogs(stage);
});

function newPrivatePrompt(directives = ""): string {
  return newPrompt(`${PRIVATE_TEXT} ${directives}`);
}

/** Waits until KV has this number of stored requests. */
async function expectStored(requests: number): Promise<void> {
  await eventually(async () => {
    const { keys } = await stage.gateway.cache.list({ prefix: "request/" });
    expect(keys).toHaveLength(requests);
  });
}

/** Opens a socket and writes a request's headers to it. The caller writes the text of the body. */
function open(body: object, declaredLength?: number): { socket: Socket; text: string } {
  const { hostname, port } = new URL(stage.gateway.url);
  const text = JSON.stringify(body);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined);
  socket.write(
    "POST /v1/images/generations HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n" +
      `Connection: close\r\nContent-Length: ${declaredLength ?? Buffer.byteLength(text)}\r\n\r\n`,
  );
  return { socket, text };
}

/** Reads a socket to its end, with a pause after each chunk. */
async function readAll(socket: Socket, pauseMs = 0): Promise<string> {
  let text = "";
  socket.pause();
  for await (const chunk of socket) {
    text += String(chunk);
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return text;
}

describe("a client", () => {
  it("that disconnects before the headers gets a cache hit when it repeats the request", async () => {
    const body = { ...SMALL, prompt: newPrivatePrompt("[upstream delay=600]") };
    const { socket, text } = open(body);
    socket.write(text);
    await eventually(() => expect(calls(body.prompt)).toBe(1));
    socket.destroy();
    await expectStored(1);
    const repeated = await stage.post(body);
    expect(repeated.headers.get("cache-status")).toContain("hit");
    expect(calls(body.prompt)).toBe(1);
  });

  it("that disconnects in the middle of a stream does not interrupt the other clients", async () => {
    const body = { ...STREAM, prompt: newPrivatePrompt("[upstream hold=last]") };
    const leaving = new AbortController();
    const first = await fetch(`${stage.gateway.url}/v1/images/generations`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: leaving.signal,
    });
    const staying = await stage.post(body);
    await first.body?.getReader().read();
    leaving.abort();
    await stage.release(body.prompt);
    const events = await staying.text();
    expect(events.match(/^event: \S+/gm)).toEqual([
      "event: image_generation.partial_image",
      "event: image_generation.partial_image",
      "event: image_generation.completed",
    ]);
    expect(calls(body.prompt)).toBe(1);
    await expectStored(2);
    expect((await stage.post(body)).headers.get("cache-status")).toContain("hit");
  });

  it("that reads slowly receives the whole response", async () => {
    const body = {
      ...SMALL,
      prompt: newPrivatePrompt("[upstream bytes=3000000]"),
      response_format: "b64_json",
    };
    const { socket, text } = open(body);
    socket.write(text);
    const [, json = ""] = (await readAll(socket, 5)).split("\r\n\r\n");
    const response = JSON.parse(json) as { data: { b64_json: string }[] };
    expect(Buffer.from(String(response.data[0]?.b64_json), "base64")).toHaveLength(3_000_000);
    expect(calls(body.prompt)).toBe(1);
    await expectStored(3);
  });

  it("that uploads slowly receives its response", async () => {
    const body = { ...SMALL, prompt: newPrivatePrompt() };
    const { socket, text } = open(body);
    for (const character of text) {
      socket.write(character);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(await readAll(socket)).toMatch(/^HTTP\/1\.1 200 OK/);
    expect(calls(body.prompt)).toBe(1);
    await expectStored(4);
  });

  it("that disconnects in the middle of its upload causes no upstream call", async () => {
    const body = { ...SMALL, prompt: newPrivatePrompt() };
    const { socket, text } = open(body);
    await new Promise((resolve) => socket.write(text.slice(0, 30), resolve));
    socket.destroy();
    const next = await stage.post({ ...SMALL, prompt: newPrivatePrompt() });
    expect(next.status).toBe(200);
    expect(calls(body.prompt)).toBe(0);
    await expectStored(5);
  });

  it("among 200 with the same request shares one upstream call", async () => {
    const body = {
      ...SMALL,
      prompt: newPrivatePrompt("[upstream delay=400]"),
      response_format: "b64_json",
    };
    const responses = await Promise.all(
      Array.from({ length: 200 }, async () => read(await stage.post(body))),
    );
    expect(new Set(responses.map((response) => response.data[0]?.b64_json)).size).toBe(1);
    expect(calls(body.prompt)).toBe(1);
    await expectStored(6);
  });
});
