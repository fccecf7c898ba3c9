import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { directivesIn, numberOf, type Directives } from "./directives.ts";
import { paint } from "./paint.ts";
import { serverSentEvent } from "./server-sent-event.ts";
import { isShutDown } from "./shutdowns.ts";
import { inputTokens, outputTokens } from "./tokens.ts";

/** The models that `GET /v1/models` lists. Without a clock, the simulator serves any model. */
const SERVED = [
  "gpt-image-1.5",
  "gpt-image-2",
  "gpt-image-2.6-sunburst",
  "gpt-image-2.6-flare",
  "dall-e-2",
  "dall-e-3",
];

/** A request that the simulator received. */
export interface ReceivedRequest {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
  body: Record<string, unknown>;
}

/** A request for images, and the state of its response. */
export interface UpstreamCall {
  body: Record<string, unknown>;
  /** The directives of the prompt, empty if `times` excludes this call. */
  directives: Directives;
  /** Milliseconds since the epoch. */
  startedMs: number;
  /** The time at which the response was sent or cut; `undefined` until then. */
  endedMs: number | undefined;
  /** The status of the response; `undefined` if the connection was cut before it. */
  status: number | undefined;
  /** True once every byte of the response was written. */
  isWhole: boolean;
  /** The SHA-256 of each image that was generated for it, in the order of the response. */
  images: string[];
  /** The tokens of these images. */
  tokens: { input: number; output: number };
}

export interface Simulator {
  origin: string;
  /** Ends in `/v1`. */
  baseUrl: string;
  /** Returns the requests for images with this prompt, oldest first. */
  received(prompt: string): ReceivedRequest[];
  /** Requests for the URL of an image, without bodies, oldest first. */
  fetched: ReceivedRequest[];
  close(): Promise<void>;
}

export interface SimulatorOptions {
  /** 0: any free port. */
  port?: number;
  /** The duration of a generation, in milliseconds. */
  delayMs?: number;
  /**
   * Returns the time, in milliseconds since the epoch. The simulator rejects the models that OpenAI has shut
   * down at that time. Absent: it serves any model.
   */
  openAiClock?: () => number;
  /** Receives each call when it arrives. The simulator updates the call until its response has ended. */
  onCall?: (call: UpstreamCall) => void;
}

/** The parameters of a request for images, with defaults. */
interface ImageRequest {
  model: string;
  prompt: string;
  n: number;
  width: number;
  height: number;
  quality: string;
  background: string;
  format: "png" | "jpeg" | "webp";
  compression: number;
  dialect: string;
  stream: boolean;
  partialImages: number;
  directives: Directives;
  call: UpstreamCall;
}

const HTML = "<!doctype html><html><body><h1>Welcome</h1></body></html>";
const SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>';

/** Starts the simulator on a port of the loopback interface. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const requests: ReceivedRequest[] = [];
  const fetched: ReceivedRequest[] = [];
  const storedImages = new Map<string, Buffer>();
  /** By prompt, the function that releases a held call with the directives of its response. */
  const held = new Map<string, (directives: Directives) => void>();
  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      console.error("The simulator failed:", error);
      response.destroy();
    });
  });
  // No timeout: a Worker that reuses a connection while it closes would respond with 502.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port to listen on");
  const origin = `http://127.0.0.1:${address.port}`;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "/";
    const received = {
      method: request.method ?? "GET",
      path,
      headers: request.headers,
      body: {} as Record<string, unknown>,
    };
    if (path.startsWith("/images/")) {
      fetched.push(received);
      serveImage(path, response);
      return;
    }
    if (path.startsWith("/received?")) {
      const prompt = new URL(path, origin).searchParams.get("prompt");
      const count = requests.filter((request) => request.body["prompt"] === prompt).length;
      sendJson(response, 200, { count });
      return;
    }
    if (path.startsWith("/release?")) {
      const query = new URL(path, origin).searchParams;
      const prompt = String(query.get("prompt"));
      const release = held.get(prompt);
      held.delete(prompt);
      release?.(directivesIn(`[upstream ${query.get("as")}]`));
      response.writeHead(release === undefined ? 404 : 204).end();
      return;
    }
    if (path === "/v1/models") {
      listModels(request.headers.authorization, response);
      return;
    }
    if (request.method !== "POST" || path !== "/v1/images/generations") {
      sendJson(response, 404, envelope("There is no such URL.", "not_found"));
      return;
    }
    received.body = JSON.parse(await text(request));
    requests.push(received);
    if (!/^Bearer \S+$/.test(request.headers.authorization ?? "")) {
      sendJson(response, 401, envelope("You didn't provide an API key.", "invalid_api_key"));
      return;
    }
    const model = String(received.body["model"]);
    if (isUnavailable(model)) {
      const message = `The model \`${model}\` does not exist or you do not have access to it.`;
      sendJson(response, 404, envelope(message, "model_not_found"));
      return;
    }
    await respond(await released(parse(received, response)), received, response);
  }

  /** Waits until a held call is released. Returns it with the directives of its release. */
  async function released(request: ImageRequest): Promise<ImageRequest> {
    if (request.directives.get("hold") !== "") return request;
    return { ...request, directives: await hold(request) };
  }

  function hold({ prompt }: ImageRequest): Promise<Directives> {
    const { promise, resolve } = Promise.withResolvers<Directives>();
    held.set(prompt, resolve);
    return promise;
  }

  function isUnavailable(model: string): boolean {
    return options.openAiClock !== undefined && isShutDown(model, options.openAiClock());
  }

  /** Lists the models. The key may hold a directive: `sk-answers-401` gets status 401. */
  function listModels(authorization: string | undefined, response: ServerResponse): void {
    const status = /^Bearer sk-answers-(\d{3})$/.exec(authorization ?? "")?.[1];
    if (status !== undefined) {
      sendJson(response, Number(status), envelope("As the key says.", "as_the_key_says"));
      return;
    }
    const data = SERVED.filter((id) => !isUnavailable(id)).map((id) => ({ id, object: "model" }));
    sendJson(response, 200, { object: "list", data });
  }

  function parse({ body }: ReceivedRequest, response: ServerResponse): ImageRequest {
    const prompt = String(body["prompt"]);
    const earlier = requests.filter((request) => request.body["prompt"] === prompt).length;
    const all = directivesIn(prompt);
    const isAffected = earlier <= numberOf(all, "times", Number.POSITIVE_INFINITY);
    const directives: Directives = isAffected ? all : new Map<string, string>();
    const [width = 1024, height = 1024] = /^\d+x\d+$/.test(String(body["size"]))
      ? String(body["size"]).split("x").map(Number)
      : [];
    const isDallE = String(body["model"]).startsWith("dall-e");
    const preset = isDallE && body["response_format"] !== "b64_json" ? "url" : "b64";
    return {
      model: String(body["model"]),
      prompt,
      n: numberOf(directives, "images", Number(body["n"] ?? 1)),
      width,
      height,
      quality: resolvedQuality(body["quality"]),
      background: body["background"] === "transparent" ? "transparent" : "opaque",
      format:
        body["output_format"] === "jpeg" || body["output_format"] === "webp"
          ? body["output_format"]
          : "png",
      compression: Number(body["output_compression"] ?? 100),
      dialect: directives.get("dialect") ?? preset,
      stream: body["stream"] === true,
      partialImages: Number(body["partial_images"] ?? 0),
      directives,
      call: watchedCall(body, directives, response),
    };
  }

  function watchedCall(
    body: Record<string, unknown>,
    directives: Directives,
    response: ServerResponse,
  ): UpstreamCall {
    const call: UpstreamCall = {
      body,
      directives,
      startedMs: Date.now(),
      endedMs: undefined,
      status: undefined,
      isWhole: false,
      images: [],
      tokens: { input: 0, output: 0 },
    };
    response.on("close", () => {
      call.endedMs = Date.now();
      call.status = response.headersSent ? response.statusCode : undefined;
      call.isWhole ||= response.writableFinished;
    });
    options.onCall?.(call);
    return call;
  }

  async function respond(
    request: ImageRequest,
    received: ReceivedRequest,
    response: ServerResponse,
  ): Promise<void> {
    const { directives } = request;
    const steps = request.stream ? request.partialImages + 1 : 1;
    const pauseMs = (options.delayMs ?? 0) / steps;
    await sleep(numberOf(directives, "delay", request.stream ? 0 : pauseMs));
    if (directives.get("reset") === "before") {
      response.destroy();
      return;
    }
    const status = directives.get("status");
    if (status !== undefined) {
      sendError(response, Number(status), request, received);
      return;
    }
    if (request.stream) {
      await streamImages(request, response, { pauseMs, hold: () => hold(request) });
      return;
    }
    await send(response, await bodyFor(request), directives);
  }

  async function bodyFor(request: ImageRequest): Promise<string> {
    switch (request.directives.get("answer")) {
      case "html":
        return HTML;
      case "empty":
        return "";
      case "no-images":
        return JSON.stringify({ created: nowSeconds(), data: [] });
      case "bad-base64":
        return JSON.stringify({ data: [{ b64_json: `${"A".repeat(2000)}*?` }] });
      case "svg":
        return JSON.stringify({ data: [{ b64_json: Buffer.from(SVG).toString("base64") }] });
      case "html-as-png":
        return JSON.stringify({
          data: [{ b64_json: Buffer.from(HTML.repeat(50)).toString("base64") }],
        });
      case "truncated": {
        const whole = JSON.stringify(await imageBody(request));
        return whole.slice(0, Math.floor(whole.length / 2));
      }
      case "escaped":
        return JSON.stringify(await imageBody(request)).replaceAll("/", "\\/");
      default:
        return JSON.stringify(await imageBody(request));
    }
  }

  async function imageBody(request: ImageRequest): Promise<unknown> {
    const images = await Promise.all(
      Array.from({ length: request.n }, (_, index) => paintImage(request, index)),
    );
    const usage = usageOf(request);
    const created = nowSeconds();
    if (request.dialect.startsWith("chat-")) {
      return {
        id: "chatcmpl-simulated",
        object: "chat.completion",
        created,
        choices: images.map((image, index) => ({
          index,
          message: { role: "assistant", content: chatContent(request, image) },
          finish_reason: "stop",
        })),
        usage: {
          prompt_tokens: usage.input_tokens,
          completion_tokens: usage.output_tokens,
          total_tokens: usage.total_tokens,
        },
      };
    }
    const data = images.map((image) =>
      request.dialect === "url"
        ? { url: store(image, request) }
        : { b64_json: image.toString("base64") },
    );
    if (request.model === "dall-e-3") {
      const revised_prompt = `An image of: ${request.prompt}`;
      return { created, data: data.map((item) => ({ ...item, revised_prompt })) };
    }
    if (request.model.startsWith("dall-e")) return { created, data };
    return {
      created,
      background: request.background,
      data,
      output_format: request.format,
      quality: request.quality,
      size: `${request.width}x${request.height}`,
      usage,
    };
  }

  function chatContent(request: ImageRequest, image: Buffer): string {
    switch (request.dialect) {
      case "chat-url":
        return `Here it is: ${store(image, request)}`;
      case "chat-data":
        return `data:image/${request.format};base64,${image.toString("base64")}`;
      default:
        return `Here it is:\n\n![image](${store(image, request)})`;
    }
  }

  /** Stores an image, and returns its URL. */
  function store(image: Buffer, { format, directives }: ImageRequest): string {
    const kind = directives.get("image") ?? "stored";
    if (kind === "inside") return origin.replace("//", "//user:password@");
    const path = `/images/${kind}/${randomBytes(8).toString("hex")}.${format}`;
    storedImages.set(path, image);
    return `${origin}${path}`;
  }

  function serveImage(path: string, response: ServerResponse): void {
    const image = storedImages.get(path);
    const isFirst = fetched.filter((request) => request.path === path).length === 1;
    if (path.startsWith("/images/redirect/")) {
      response.writeHead(302, { location: `${origin}/images/stored/elsewhere.png` }).end();
    } else if (path.startsWith("/images/flaky/") && isFirst) {
      response.writeHead(503).end();
    } else if (image === undefined || path.startsWith("/images/expired/")) {
      response.writeHead(403).end("expired");
    } else {
      // The wrong type, as some object stores send: the gateway must detect the type by the signature.
      response.writeHead(200, { "content-type": "application/octet-stream" }).end(image);
    }
  }

  return {
    origin,
    baseUrl: `${origin}/v1`,
    received: (prompt) => requests.filter((request) => request.body["prompt"] === prompt),
    fetched,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Paints one image of a call, and records its hash and its tokens in the call. */
async function paintImage(request: ImageRequest, index: number): Promise<Buffer> {
  const image = await paintPadded(request, index);
  const { input_tokens: input, output_tokens: output } = usageOf(request);
  request.call.images[index] = createHash("sha256").update(image).digest("hex");
  request.call.tokens = { input, output };
  return image;
}

async function paintPadded(request: ImageRequest, index: number): Promise<Buffer> {
  const image = await paint({
    prompt: request.prompt,
    index,
    width: request.width,
    height: request.height,
    format: request.format,
    transparent: request.background === "transparent",
    compression: request.compression,
  });
  const missing = numberOf(request.directives, "bytes", 0) - image.byteLength;
  // Decoders ignore bytes after the end of an image.
  return missing > 0 ? Buffer.concat([image, randomBytes(missing)]) : image;
}

async function streamImages(
  request: ImageRequest,
  response: ServerResponse,
  { pauseMs, hold }: { pauseMs: number; hold: () => Promise<Directives> },
): Promise<void> {
  const image = (await paintImage(request, 0)).toString("base64");
  const common = {
    b64_json: image,
    created_at: nowSeconds(),
    size: `${request.width}x${request.height}`,
    quality: request.quality,
    background: request.background,
    output_format: request.format,
  };
  const events: { type: string; [name: string]: unknown }[] = Array.from(
    { length: request.partialImages },
    (_, index) => ({
      type: "image_generation.partial_image",
      ...common,
      partial_image_index: index,
    }),
  );
  events.push({ type: "image_generation.completed", ...common, usage: usageOf(request) });
  const count = numberOf(request.directives, "partials", events.length);
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const event of events.slice(0, count)) {
    await sleep(numberOf(request.directives, "gap", pauseMs));
    const isLast = event === events.at(-1);
    if (isLast && request.directives.get("hold") === "last") await hold();
    const text = serverSentEvent(event.type, event);
    const problem = await new Promise((resolve) => response.write(text, resolve));
    // The gateway may close the connection as soon as it has the completed image.
    request.call.isWhole = event.type.endsWith(".completed") && !(problem instanceof Error);
  }
  const then = request.directives.get("then");
  if (then === "error") {
    const code = request.directives.get("code") ?? "server_error";
    const { error } = envelope("The model failed.", code);
    response.write(serverSentEvent("error", { error }));
  }
  if (then === "cut") response.destroy();
  else response.end();
}

async function send(response: ServerResponse, body: string, directives: Directives): Promise<void> {
  const bytes = Buffer.from(body);
  const isHtml = directives.get("answer") === "html";
  const isChunked = directives.get("reset") === "chunked-body";
  response.writeHead(200, {
    "content-type": isHtml ? "text/html" : "application/json",
    ...(isChunked ? {} : { "content-length": bytes.byteLength }),
    "x-upstream-secret": "not-for-clients",
    "set-cookie": "session=not-for-clients",
  });
  if (isChunked || directives.get("reset") === "body") {
    response.write(bytes.subarray(0, Math.floor(bytes.byteLength / 2)), () => response.destroy());
    return;
  }
  const slice = numberOf(directives, "slice", bytes.byteLength);
  for (let start = 0; start < bytes.byteLength; start += slice) {
    const piece = bytes.subarray(start, start + slice);
    await new Promise((resolve) => response.write(piece, resolve));
  }
  response.end();
}

function sendError(
  response: ServerResponse,
  status: number,
  { directives, prompt }: ImageRequest,
  received: ReceivedRequest,
): void {
  const retryAfter = directives.get("retry-after");
  if (retryAfter !== undefined) response.setHeader("retry-after", retryAfter);
  const code = directives.get("code") ?? "some_code";
  const message = "A directive of the prompt caused this error.";
  switch (directives.get("error")) {
    case "string":
      sendJson(response, status, { error: message });
      return;
    case "text":
      response.writeHead(status, { "content-type": "text/plain" }).end(message);
      return;
    case "html":
      response.writeHead(status, { "content-type": "text/html" }).end(HTML);
      return;
    case "echo": {
      const key = received.headers.authorization;
      sendJson(response, status, envelope(`Incorrect key ${key} for the prompt ${prompt}`, code));
      return;
    }
    default: {
      const body = envelope(message, code);
      if (code === "moderation_blocked") {
        body.error["moderation_details"] = { moderation_stage: "input", categories: ["violence"] };
      }
      sendJson(response, status, body);
    }
  }
}

function envelope(message: string, code: string) {
  const error: Record<string, unknown> = {
    message,
    type: "invalid_request_error",
    param: null,
    code,
  };
  return { error };
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function usageOf({ prompt, n, width, height, quality }: ImageRequest) {
  const input = inputTokens(prompt);
  const output = n * outputTokens(width, height, quality);
  return {
    input_tokens: input,
    input_tokens_details: { image_tokens: 0, text_tokens: input },
    output_tokens: output,
    output_tokens_details: { image_tokens: output, text_tokens: 0 },
    total_tokens: input + output,
  };
}

function resolvedQuality(quality: unknown): string {
  return typeof quality === "string" && quality !== "auto" ? quality : "high";
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
