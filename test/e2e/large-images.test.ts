import { createHash } from "node:crypto";
import { connect } from "node:net";
import { describe, expect, it } from "vitest";
import { newPrompt, SMALL } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { read, startStage } from "../support/stage.ts";
import type { UpstreamCall } from "../support/upstream/simulator.ts";

const COUNTS_PATH = "/test-streams";

/** Returns the source of an entry module that counts the images that were opened and cancelled in KV. */
function countingStreams(bundle: string): string {
  return `
    import worker from "./${bundle}";
    export * from "./${bundle}";

    const counts = { opened: 0, cancelled: 0 };

    function counted(body) {
      counts.opened += 1;
      const reader = body.getReader({ mode: "byob" });
      return new ReadableStream({
        type: "bytes",
        async pull(controller) {
          const { done, value } = await reader.read(new Uint8Array(64 * 1024));
          if (!done) return controller.enqueue(value);
          controller.close();
          controller.byobRequest?.respond(0);
        },
        async cancel() {
          counts.cancelled += 1;
          await reader.cancel();
        },
      });
    }

    const countedKv = (kv) =>
      new Proxy(kv, {
        get(target, name) {
          if (name !== "getWithMetadata") return target[name].bind(target);
          return async (key, options) => {
            const { value, metadata } = await target.getWithMetadata(key, options);
            return { value: value instanceof ReadableStream ? counted(value) : value, metadata };
          };
        },
      });

    let wrapped;

    export default {
      fetch(request, env, ctx) {
        if (new URL(request.url).pathname === "${COUNTS_PATH}") return Response.json(counts);
        wrapped ??= { ...env, CACHE: countedKv(env.CACHE) };
        return worker.fetch(request, wrapped, ctx);
      },
    };
  `;
}

const stage = startStage({}, { wrap: countingStreams });

const calls: UpstreamCall[] = [];
/** The stage of the largest responses: counting takes time. */
const uncounted = startStage({}, { onCall: (call) => calls.push(call) });

/** Returns the hash of an image, as a call of the upstream records it. */
function hashOf(image: Buffer): string {
  return createHash("sha256").update(image).digest("hex");
}

/** Generates and caches an image. Returns its request and its URL. */
async function cachedImage(bytes: number) {
  const body = { ...SMALL, prompt: newPrompt(`[upstream bytes=${bytes}]`) };
  const { id, data } = await read(await stage.post({ ...body, response_format: "url" }));
  await eventually(async () => {
    const { keys } = await stage.gateway.cache.list({ prefix: `generation/${id}` });
    expect(keys).toHaveLength(1);
  });
  return { body, url: new URL(String(data[0]?.url), stage.gateway.url).href };
}

function counts(): Promise<{ opened: number; cancelled: number }> {
  return fetch(`${stage.gateway.url}${COUNTS_PATH}`).then((response) => read(response));
}

/** Sends a request, and disconnects after the first bytes of its response. Returns those. */
async function disconnected(method: string, url: string, headers: string, body = "") {
  const { hostname, port, pathname } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined);
  const length = Buffer.byteLength(body);
  socket.write(
    `${method} ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Length: ${length}\r\n${headers}\r\n${body}`,
  );
  const first = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
  socket.destroy();
  return first.toString();
}

describe.each([
  ["below", 100_000],
  ["above", 3_000_000],
])("an image %s 256 KiB as base64", (_, bytes) => {
  it("has the bytes of its file, and a Content-Length, in JSON", async () => {
    const { body, url } = await cachedImage(bytes);
    // A compressed body has no known length.
    const uncompressed = { "accept-encoding": "identity" };
    const response = await stage.post({ ...body, response_format: "b64_json" }, uncompressed);
    const text = await response.text();
    expect(response.headers.get("cache-status")).toContain("hit");
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(response.headers.get("content-length")).toBe(String(Buffer.byteLength(text)));
    const file = Buffer.from(await (await fetch(url)).arrayBuffer());
    const { data } = JSON.parse(text) as { data: { b64_json: string }[] };
    expect(file).toHaveLength(bytes);
    expect(data[0]?.b64_json).toBe(file.toString("base64"));
  });

  it("has its ranges", async () => {
    const { url } = await cachedImage(bytes);
    const file = Buffer.from(await (await fetch(url)).arrayBuffer());
    for (const [from, to] of [
      [0, 0],
      [10, 70_000],
      [50_000, bytes - 1],
      [bytes - 1, bytes - 1],
    ] as const) {
      const response = await fetch(url, { headers: { range: `bytes=${from}-${to}` } });
      expect(response.status).toBe(206);
      expect(response.headers.get("content-length")).toBe(String(to - from + 1));
      const range = Buffer.from(await response.arrayBuffer());
      expect(range.equals(file.subarray(from, to + 1))).toBe(true);
    }
  });
});

describe("a client that disconnects", () => {
  it.each(["base64", "range"])("cancels the image that it is sent: %s", async (form) => {
    const { body, url } = await cachedImage(20_000_000);
    const { opened, cancelled } = await counts();
    const json = JSON.stringify({ ...body, response_format: "b64_json" });
    const first =
      form === "range"
        ? await disconnected("GET", url, "Range: bytes=1-\r\n")
        : await disconnected(
            "POST",
            `${stage.gateway.url}/v1/images/generations`,
            "Content-Type: application/json\r\n",
            json,
          );
    expect(first).toMatch(/^HTTP\/1\.1 20[06] /);
    await eventually(async () =>
      expect(await counts()).toEqual({ opened: opened + 1, cancelled: cancelled + 1 }),
    );
  });
});

describe("a generation of many large images", () => {
  it.each([
    ["ten images of 11 MB", 10, 11_000_000],
    ["two images of 25 MiB", 2, 25 * 1024 * 1024],
  ])("is delivered and stored byte for byte: %s", async (_, n, bytes) => {
    const body = { ...SMALL, prompt: newPrompt(`[upstream bytes=${bytes}]`), n };
    const response = await uncounted.post({ ...body, response_format: "b64_json" });
    expect(response.status).toBe(200);
    const { id, data } = await read(response);
    const images = calls.find((call) => call.body["prompt"] === body.prompt)?.images;
    expect(images).toHaveLength(n);
    const received = data.map(({ b64_json }) => Buffer.from(String(b64_json), "base64"));
    expect(received.map((image) => image.byteLength)).toEqual(images?.map(() => bytes));
    expect(received.map(hashOf)).toEqual(images);
    await eventually(async () => {
      const { keys } = await uncounted.gateway.cache.list({ prefix: `generation/${id}` });
      expect(keys).toHaveLength(1);
    });
    for (const [index, hash] of images?.entries() ?? []) {
      const file = await fetch(`${uncounted.gateway.url}/v1/images/${id}/${index}.png`);
      expect(hashOf(Buffer.from(await file.arrayBuffer()))).toBe(hash);
    }
  });
});
