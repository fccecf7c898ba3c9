import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startGateway } from "../support/gateway.ts";
import { openUnread, send, type Call, type Expectation } from "./client.ts";
import { rest, some, type Effort } from "./measure.ts";
import { withWorkerd, type OsProcess } from "./process.ts";
import type { Row } from "./row.ts";
import { cachedRecords, generation, startBareWorker } from "./servers.ts";
import { IMAGE_BYTES, imageOf, sized, startUpstream } from "./upstream.ts";

/** A response that clients open and do not read. */
interface Case {
  name: string;
  imageBytes: number;
  /** The number of images in a response; 1 if absent. */
  n?: number;
  /** The number of clients. */
  clients: number;
  /** Returns the request to the gateway, for the cached image. */
  ours: (image: Image) => Call;
  /** The path of the bare Worker that pipes the same image. */
  barePath: string;
}

/** An image in the gateway's cache. */
interface Image {
  gatewayUrl: string;
  /** The path of its URL. */
  path: string;
  /** The request body that generated it. */
  body: object;
  bytes: number;
}

const TARGET_MB = 2;
/** Requests before the measurement: the first ones of a process allocate more. */
const WARM_UP_CALLS = 5;

const HIT: Expectation = { status: 200, cache: "hit" };

const CASES: readonly Case[] = [
  {
    name: "100 unread responses: base64, 3 MB",
    imageBytes: 3_000_000,
    clients: 100,
    ours: ({ gatewayUrl: url, body }) => generation({ gateway: { url } }, body, HIT),
    barePath: "/image",
  },
  {
    name: "100 unread responses: base64, 10 images of 1.5 MB",
    imageBytes: IMAGE_BYTES,
    n: 10,
    clients: 100,
    ours: ({ gatewayUrl: url, body }) => generation({ gateway: { url } }, body, HIT),
    barePath: "/image",
  },
  {
    name: "100 unread responses: stream, 3 MB",
    imageBytes: 3_000_000,
    clients: 100,
    ours: ({ gatewayUrl: url, body }) =>
      generation({ gateway: { url } }, { ...body, stream: true }, HIT),
    barePath: "/image",
  },
  {
    name: "100 unread responses: image file, 3 MB",
    imageBytes: 3_000_000,
    clients: 100,
    ours: ({ gatewayUrl, path }) => ({ url: `${gatewayUrl}${path}`, expect: { status: 200 } }),
    barePath: "/image",
  },
  {
    name: "40 unread responses: last byte of 20 MB",
    imageBytes: 20_000_000,
    clients: 40,
    ours: ({ gatewayUrl, path, bytes }) => ({
      url: `${gatewayUrl}${path}`,
      headers: { range: `bytes=${bytes - 1}-` },
      expect: { status: 206 },
    }),
    barePath: "/last-byte",
  },
];

/** The names of the rows. */
export const UNREAD: readonly string[] = CASES.map(({ name }) => name);

/**
 * Measures the memory per response that clients open and do not read, of the gateway and of the bare Worker.
 *
 * Each is measured in a process of its own, on storage that another process has filled. Memory that filling
 * it had used could be reused without growth.
 *
 * @param bundle the path of the bundle
 * @param names of the rows
 */
export async function* unread(
  bundle: string,
  names: readonly string[],
  effort: Effort,
): AsyncGenerator<Row, void> {
  const upstream = await startUpstream();
  try {
    for (const each of CASES.filter(({ name }) => names.includes(name))) {
      yield await rowOf(each, { bundle, upstreamUrl: upstream.baseUrl, effort });
    }
  } finally {
    upstream.close();
  }
}

interface Setting {
  bundle: string;
  upstreamUrl: string;
  effort: Effort;
}

async function rowOf(each: Case, setting: Setting): Promise<Row> {
  const ours = await inNewDirectory((directory) => gatewayGrowth(each, directory, setting));
  const bare = await inNewDirectory((directory) => bareGrowth(each, directory, setting));
  return {
    name: each.name,
    figures: [
      { what: "memory per response", value: ours / 1e6, unit: " MB", target: TARGET_MB },
      { what: "of the floor", value: bare / 1e6, unit: " MB" },
    ],
  };
}

async function gatewayGrowth(
  { imageBytes, n = 1, clients, ours }: Case,
  directory: string,
  { bundle, upstreamUrl, effort }: Setting,
): Promise<number> {
  const start = () => startGateway(bundle, { UPSTREAM_BASE_URL: upstreamUrl }, { directory });
  const prompt = imageBytes === IMAGE_BYTES ? "image" : `${sized(imageBytes)} image`;
  const request = { prompt, n };
  const seeding = await start();
  const path = await closing(seeding, async () => {
    const byUrl = { ...request, response_format: "url" };
    const { firstChunk } = await send(generation({ gateway: seeding }, byUrl, { status: 200 }));
    await cachedRecords(seeding, 1);
    const { data }: { data: [{ url: string }] } = JSON.parse(firstChunk.toString());
    return new URL(data[0].url).pathname;
  });
  const { started, workerd } = await withWorkerd(start);
  return closing(started, () => {
    const image = { gatewayUrl: started.url, path, body: request, bytes: imageBytes };
    return growth(ours(image), some(clients, effort), workerd);
  });
}

async function bareGrowth(
  { imageBytes, clients, ours, barePath }: Case,
  directory: string,
  { upstreamUrl, effort }: Setting,
): Promise<number> {
  const seeding = await startBareWorker(upstreamUrl, directory);
  await closing(seeding, () => seeding.cache.put("image", imageOf(imageBytes)));
  const start = () => startBareWorker(upstreamUrl, directory);
  const { started, workerd } = await withWorkerd(start);
  const { expect } = ours({ gatewayUrl: "", path: "", body: {}, bytes: imageBytes });
  const call = { url: `${started.url}${barePath}`, expect: { status: expect.status } };
  return closing(started, () => growth(call, some(clients, effort), workerd));
}

/** Returns by how many bytes the peak memory of a server grows for each unread response. */
async function growth(call: Call, clients: number, workerd: OsProcess): Promise<number> {
  for (let left = WARM_UP_CALLS; left > 0; left -= 1) await send(call);
  await rest(workerd);
  const residentBytes = workerd.residentBytes();
  workerd.resetPeak();
  const open = await Promise.all(Array.from({ length: clients }, () => openUnread(call)));
  await rest(workerd);
  const peakBytes = workerd.peakBytes();
  for (const response of open) response.close();
  return (peakBytes - residentBytes) / clients;
}

async function inNewDirectory<Result>(
  use: (directory: string) => Promise<Result>,
): Promise<Result> {
  const directory = await mkdtemp(join(tmpdir(), "darkroom-unread-"));
  try {
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Calls `use`, then closes the server. */
async function closing<Result>(
  server: { close(): Promise<void> },
  use: () => Promise<Result>,
): Promise<Result> {
  try {
    return await use();
  } finally {
    await server.close();
  }
}
