import { send, type Call, type Expectation } from "./client.ts";
import { compare, type Comparison, type Effort } from "./measure.ts";
import type { Figure, Row } from "./row.ts";
import { cachedRecords, generation, type Servers } from "./servers.ts";
import { IMAGE_BYTES, picture } from "./upstream.ts";

/** What is asked of the gateway, and of the bare Worker. */
interface Case {
  name: string;
  /** Calls in a batch: so many that a batch takes a good part of a second. */
  calls: number;
  ours: () => Call;
  bare: () => Call;
  held: (result: Comparison) => Figure[];
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

/** Base64 of that many bytes is longer by a third; the rest of an answer is not counted. */
const base64 = (images: number) => (images * IMAGE_BYTES * 4) / 3;

/** The cases that are held against a floor, one row each as it is measured. */
export async function* comparisons(servers: Servers, effort: Effort): AsyncGenerator<Row, void> {
  const { gateway, bare } = servers;
  for (const { name, calls, ours, bare: floor, held } of await cases(servers)) {
    const result = await compare(
      { workerd: gateway.workerd, call: ours },
      { workerd: bare.workerd, call: floor },
      calls,
      effort,
    );
    const { cpuMs, floorMs } = result;
    yield { name, cpuMs, floorMs, figures: held(result) };
  }
}

/** What they need is made and cached first. */
async function cases(servers: Servers): Promise<Case[]> {
  const { bare } = servers;
  const one = { prompt: "one picture", response_format: "url" };
  const ten = { prompt: "ten pictures", response_format: "url", n: 10 };
  const url = await made(servers, one);
  await made(servers, ten);
  await cachedRecords(servers, 2);
  await seedBareWorker(servers);
  const { headers } = await send({ url, expect: { status: 200, minBytes: IMAGE_BYTES } });

  const hit = (body: object, images: number) => () =>
    generation(servers, body, { status: 200, cache: "hit", minBytes: base64(images) });
  let prompts = 0;
  const miss = (n: number) => () => {
    const body = { prompt: `picture ${(prompts += 1)}`, n };
    return generation(servers, body, { status: 200, cache: "fwd=miss", minBytes: base64(n) });
  };
  const bareCall = (path: string, expect: Expectation) => () => ({
    url: `${bare.url}${path}`,
    expect,
  });
  const bareMiss = (path: string, n: number) => () => ({
    url: `${bare.url}${path}`,
    method: "POST" as const,
    body: JSON.stringify({ n }),
    expect: { status: 200, minBytes: base64(n) },
  });

  const notModified = () => ({
    url,
    headers: { "if-none-match": String(headers.etag) },
    expect: { status: 304 },
  });

  return [
    {
      name: "hit, by URL",
      calls: 400,
      ours: hit(one, 0),
      bare: bareCall("/record", { status: 200, minBytes: 100 }),
      held: (result) => [
        cpu(result, 1.6),
        { what: "p50", value: result.latencyRatio, unit: "×", target: 1.5 },
      ],
    },
    {
      name: "hit, by URL, floor that asks a rate limit too",
      calls: 400,
      ours: hit(one, 0),
      bare: bareCall("/limited-record", { status: 200, minBytes: 100 }),
      held: (result) => [cpu(result)],
    },
    {
      name: "hit, base64, 1.5 MB",
      calls: 60,
      ours: hit({ ...one, response_format: "b64_json" }, 1),
      bare: bareCall("/image", { status: 200, minBytes: IMAGE_BYTES }),
      held: (result) => [cpu(result, 2)],
    },
    {
      name: "hit, base64, n = 10",
      calls: 10,
      ours: hit({ ...ten, response_format: "b64_json" }, 10),
      bare: bareCall("/images?n=10", { status: 200, minBytes: 10 * IMAGE_BYTES }),
      held: (result) => [cpu(result, 2.5), growth(result, 3 * IMAGE_BYTES)],
    },
    {
      name: "image file, 1.5 MB",
      calls: 100,
      ours: () => ({ url, expect: { status: 200, minBytes: IMAGE_BYTES } }),
      bare: bareCall("/image", { status: 200, minBytes: IMAGE_BYTES }),
      held: (result) => [cpu(result, 1.15)],
    },
    {
      name: "304 on an image file",
      calls: 400,
      ours: notModified,
      bare: bareCall("/not-modified", { status: 304 }),
      held: (result) => [cpu(result, 2.5)],
    },
    {
      name: "304 on an image file, floor that looks it up",
      calls: 400,
      ours: notModified,
      bare: bareCall("/looked-up", { status: 304 }),
      held: (result) => [cpu(result)],
    },
    {
      name: "miss, 2 MB",
      calls: 30,
      ours: miss(1),
      bare: bareMiss("/upstream", 1),
      held: (result) => [
        cpu(result, 4),
        { what: "p50 added", value: result.addedMs, unit: " ms", target: 25 },
      ],
    },
    {
      name: "miss, n = 4, 8 MB",
      calls: 10,
      ours: miss(4),
      bare: bareMiss("/upstream", 4),
      held: (result) => [cpu(result, 4), growth(result, base64(4) + 2 * IMAGE_BYTES)],
    },
    {
      name: "miss, 2 MB, floor that keeps it",
      calls: 30,
      ours: miss(1),
      bare: bareMiss("/kept", 1),
      held: (result) => [cpu(result)],
    },
    {
      name: "miss, n = 4, 8 MB, floor that keeps it",
      calls: 10,
      ours: miss(4),
      bare: bareMiss("/kept", 4),
      held: (result) => [cpu(result)],
    },
    {
      name: "rejected input",
      calls: 400,
      ours: () => generation(servers, { prompt: "" }, { status: 400 }),
      bare: bareCall("/bad-request", { status: 400 }),
      held: (result) => [cpu(result, 2)],
    },
  ];
}

/** Makes a generation, and gives the address of its first image. */
async function made(servers: Servers, request: object): Promise<string> {
  const { beginning } = await send(generation(servers, request, { status: 200 }));
  const { data }: { data: { url: string }[] } = JSON.parse(beginning.toString());
  const [image] = data;
  if (image === undefined) throw new Error("the gateway has made no image");
  return image.url;
}

/** The same record and an image of the same size. */
async function seedBareWorker({ gateway, bare }: Servers): Promise<void> {
  const { keys } = await gateway.cache.list({ prefix: "request/" });
  const [first] = keys;
  const record = first === undefined ? null : await gateway.cache.get(first.name, "text");
  if (record === null) throw new Error("the gateway has kept no record");
  await bare.cache.put("record", record);
  await bare.cache.put("image", picture(IMAGE_BYTES));
}
