import { send, type Call, type Expectation } from "./client.ts";
import { compare, type Comparison, type Effort } from "./measure.ts";
import type { Figure, Row } from "./row.ts";
import { cachedRecords, generation, type Servers } from "./servers.ts";
import { IMAGE_BYTES, imageOf } from "./upstream.ts";

/** The servers with cached generations, and the same data for the bare Worker. */
interface Stage {
  servers: Servers;
  /** The URL of a cached image. */
  imageUrl: string;
  /** Its ETag. */
  etag: string;
}

/** Returns a new call each time. */
type Calls = (stage: Stage) => Call;

/** A request to the gateway, and its floor: the request to the bare Worker. */
interface Case {
  name: string;
  /** The number of calls in a batch, so that a batch lasts a large part of a second. */
  calls: number;
  ours: Calls;
  bare: Calls;
  figuresOf: (result: Comparison) => Figure[];
}

const cpu = ({ cpuRatio: value }: Comparison, target?: number): Figure => ({
  what: "CPU",
  value,
  unit: "×",
  ...(target === undefined ? {} : { target }),
});

const growth = ({ growthBytes }: Comparison, targetBytes: number): Figure => ({
  what: "memory grew by",
  value: growthBytes / 1e6,
  unit: " MB",
  target: targetBytes / 1e6,
});

/** Returns the size of images as base64, which is a third longer. The rest of a body is not counted. */
const base64 = (images: number) => (images * IMAGE_BYTES * 4) / 3;

const ONE = { prompt: "one image", response_format: "url" };
const TEN = { prompt: "ten images", response_format: "url", n: 10 };

const hit =
  (body: object, images: number): Calls =>
  ({ servers }) =>
    generation(servers, body, { status: 200, cache: "hit", minBytes: base64(images) });

const miss =
  (n: number): Calls =>
  ({ servers }) =>
    generation(
      servers,
      { prompt: `image ${crypto.randomUUID()}`, n },
      { status: 200, cache: "fwd=miss", minBytes: base64(n) },
    );

const bareCall =
  (path: string, expect: Expectation): Calls =>
  ({ servers }) => ({ url: `${servers.bare.url}${path}`, expect });

const bareMiss =
  (path: string, n: number): Calls =>
  ({ servers }) => ({
    url: `${servers.bare.url}${path}`,
    method: "POST",
    body: JSON.stringify({ n }),
    expect: { status: 200, minBytes: base64(n) },
  });

const notModified: Calls = ({ imageUrl, etag }) => ({
  url: imageUrl,
  headers: { "if-none-match": etag },
  expect: { status: 304 },
});

/** The cases that are compared with a floor, one row each. */
export const COMPARISONS: readonly Case[] = [
  {
    name: "hit, by URL",
    calls: 300,
    ours: hit(ONE, 0),
    bare: bareCall("/record", { status: 200, minBytes: 100 }),
    figuresOf: (result) => [
      cpu(result, 1.6),
      { what: "p50", value: result.latencyRatio, unit: "×", target: 1.5 },
    ],
  },
  {
    name: "hit, by URL, floor that calls a rate limit too",
    calls: 300,
    ours: hit(ONE, 0),
    bare: bareCall("/limited-record", { status: 200, minBytes: 100 }),
    figuresOf: (result) => [cpu(result)],
  },
  {
    name: "hit, base64, 1.5 MB",
    calls: 60,
    ours: hit({ ...ONE, response_format: "b64_json" }, 1),
    bare: bareCall("/image", { status: 200, minBytes: IMAGE_BYTES }),
    figuresOf: (result) => [cpu(result, 2)],
  },
  {
    name: "hit, base64, n = 10",
    calls: 10,
    ours: hit({ ...TEN, response_format: "b64_json" }, 10),
    bare: bareCall("/images?n=10", { status: 200, minBytes: 10 * IMAGE_BYTES }),
    figuresOf: (result) => [cpu(result, 2.5), growth(result, 3 * IMAGE_BYTES)],
  },
  {
    name: "image file, 1.5 MB",
    calls: 100,
    ours: ({ imageUrl: url }) => ({ url, expect: { status: 200, minBytes: IMAGE_BYTES } }),
    bare: bareCall("/image", { status: 200, minBytes: IMAGE_BYTES }),
    figuresOf: (result) => [cpu(result, 1.15)],
  },
  {
    name: "304 on an image file",
    calls: 300,
    ours: notModified,
    bare: bareCall("/not-modified", { status: 304 }),
    figuresOf: (result) => [cpu(result, 2.5)],
  },
  {
    name: "304 on an image file, floor that looks it up",
    calls: 300,
    ours: notModified,
    bare: bareCall("/looked-up", { status: 304 }),
    figuresOf: (result) => [cpu(result)],
  },
  {
    name: "miss, 2 MB",
    calls: 20,
    ours: miss(1),
    bare: bareMiss("/upstream", 1),
    figuresOf: (result) => [
      cpu(result, 4),
      { what: "p50 added", value: result.addedMs, unit: " ms", target: 25 },
    ],
  },
  {
    name: "miss, n = 4, 8 MB",
    calls: 5,
    ours: miss(4),
    bare: bareMiss("/upstream", 4),
    figuresOf: (result) => [cpu(result, 4), growth(result, base64(4) + 2 * IMAGE_BYTES)],
  },
  {
    name: "miss, 2 MB, floor that stores it",
    calls: 20,
    ours: miss(1),
    bare: bareMiss("/stored", 1),
    figuresOf: (result) => [cpu(result)],
  },
  {
    name: "miss, n = 4, 8 MB, floor that stores it",
    calls: 5,
    ours: miss(4),
    bare: bareMiss("/stored", 4),
    figuresOf: (result) => [cpu(result)],
  },
  {
    name: "rejected input",
    calls: 300,
    ours: ({ servers }) => generation(servers, { prompt: "" }, { status: 400 }),
    bare: bareCall("/bad-request", { status: 400 }),
    figuresOf: (result) => [cpu(result, 2)],
  },
];

/** Measures one case. */
export async function compared(
  { name, calls, ours, bare, figuresOf }: Case,
  stage: Stage,
  effort: Effort,
): Promise<Row> {
  const { servers } = stage;
  const result = await compare(
    { workerd: servers.gateway.workerd, call: () => ours(stage) },
    { workerd: servers.bare.workerd, call: () => bare(stage) },
    calls,
    effort,
  );
  const { cpuMs, floorMs } = result;
  return { name, cpuMs, floorMs, figures: figuresOf(result) };
}

/** Creates and caches the generations that the cases need. */
export async function prepared(servers: Servers): Promise<Stage> {
  const imageUrl = await createImage(servers, ONE);
  await createImage(servers, TEN);
  await cachedRecords(servers.gateway, 2);
  await seedBareWorker(servers);
  const expect = { status: 200, minBytes: IMAGE_BYTES };
  const { headers } = await send({ url: imageUrl, expect });
  return { servers, imageUrl, etag: String(headers.etag) };
}

/** Creates a generation and returns the URL of its first image. */
async function createImage(servers: Servers, request: object): Promise<string> {
  const { firstChunk } = await send(generation(servers, request, { status: 200 }));
  const { data }: { data: { url: string }[] } = JSON.parse(firstChunk.toString());
  const [image] = data;
  if (image === undefined) throw new Error("the gateway generated no image");
  return image.url;
}

/** Stores the same record and an image of the same size for the bare Worker. */
async function seedBareWorker({ gateway, bare }: Servers): Promise<void> {
  const { keys } = await gateway.cache.list({ prefix: "request/" });
  const [first] = keys;
  const record = first === undefined ? null : await gateway.cache.get(first.name, "text");
  if (record === null) throw new Error("the gateway cached no record");
  await bare.cache.put("record", record);
  await bare.cache.put("image", imageOf(IMAGE_BYTES));
}
