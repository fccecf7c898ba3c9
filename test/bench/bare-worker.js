import { DurableObject } from "cloudflare:workers";

/**
 * The floor that the gateway is compared with: a Worker that does only the minimum that the platform
 * allows for each case, without a library and without validation. `UPSTREAM` is the upstream's base URL.
 */
export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    switch (pathname) {
      case "/record":
        return Response.json(await env.CACHE.get("record", "json"));
      case "/limited-record":
        await env.LIMIT.limit({ key: "caller" });
        return Response.json(await env.CACHE.get("record", "json"));
      case "/image":
        return new Response(await env.CACHE.get("image", "stream"));
      case "/images":
        return new Response(pipedImages(env.CACHE, Number(searchParams.get("n"))));
      case "/last-byte":
        return new Response(await lastByte(await env.CACHE.get("image", "stream")), {
          status: 206,
        });
      case "/not-modified":
        return new Response(null, { status: 304 });
      case "/bad-request":
        return new Response(null, { status: 400 });
      case "/looked-up": {
        const image = await env.CACHE.get("image", "stream");
        await image.cancel();
        return new Response(null, { status: 304 });
      }
      case "/upstream":
        return upstream(env, request.body);
      case "/stored":
        return new Response(
          await env.STORING.get(env.STORING.newUniqueId()).generate(await request.text()),
        );
      default:
        return new Response(null, { status: 404 });
    }
  },
};

function upstream(env, body) {
  return fetch(`${env.UPSTREAM}/images/generations`, { method: "POST", body });
}

function pipedImages(cache, n) {
  const { readable, writable } = new IdentityTransformStream();
  void (async () => {
    for (let left = n; left > 0; left -= 1) {
      const image = await cache.get("image", "stream");
      await image.pipeTo(writable, { preventClose: left > 1 });
    }
  })();
  return readable;
}

/** The minimum for a range: KV has none, so everything before it is read into one buffer again and again. */
async function lastByte(image) {
  const reader = image.getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(READ_BYTES);
  for (let last; ;) {
    const { done, value } = await reader.readAtLeast(READ_BYTES, new Uint8Array(buffer));
    if (value.byteLength > 0) last = value.at(-1);
    if (done || value.byteLength < READ_BYTES) return Uint8Array.of(last);
    buffer = value.buffer;
  }
}

const READ_BYTES = 192 * 1024;
const CHUNK_BYTES = 1024 * 1024;

/** The minimum that stores every image: calls the upstream in an alarm, writes the images to SQLite, then to KV. */
export class StoringObject extends DurableObject {
  #generated = Promise.withResolvers();

  async generate(body) {
    const { sql } = this.ctx.storage;
    sql.exec("CREATE TABLE job (body TEXT); CREATE TABLE chunk (bytes BLOB)");
    sql.exec("INSERT INTO job VALUES (?)", body);
    await this.ctx.storage.setAlarm(Date.now());
    return this.#generated.promise;
  }

  async alarm() {
    const { sql } = this.ctx.storage;
    const [{ body }] = sql.exec("SELECT body FROM job").toArray();
    const text = await (await upstream(this.env, body)).text();
    const images = JSON.parse(text).data.map((image) => Uint8Array.fromBase64(image.b64_json));
    for (const image of images) {
      for (let start = 0; start < image.length; start += CHUNK_BYTES) {
        sql.exec("INSERT INTO chunk VALUES (?)", image.slice(start, start + CHUNK_BYTES));
      }
    }
    this.#generated.resolve(text);
    for (const image of images) await this.env.CACHE.put(crypto.randomUUID(), image);
  }
}
