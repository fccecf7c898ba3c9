import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { directivesIn, numberOf, type Directives } from "./directives.ts";
import { envelope, openAiError, sendRequestedError } from "./errors.ts";
import { ImageStore } from "./image-store.ts";
import { PROFILES, type ProfileName } from "./profiles.ts";
import {
  parseRequest,
  type ImageRequest,
  type ReceivedRequest,
  type RequestBody,
  type UpstreamCall,
} from "./request.ts";
import { bodyFor } from "./response-body.ts";
import { send, sendJson } from "./send.ts";
import { isShutDown } from "./shutdowns.ts";
import { streamImages } from "./stream.ts";

export type { ProfileName } from "./profiles.ts";
export type { ReceivedRequest, UpstreamCall } from "./request.ts";

/** The models that `GET /v1/models` lists. Without a clock, the simulator serves any model. */
const SERVED = [
  "gpt-image-1.5",
  "gpt-image-2",
  "gpt-image-2.6-sunburst",
  "gpt-image-2.6-flare",
  "dall-e-2",
  "dall-e-3",
];

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
  /** The public server whose contract the simulator plays. Absent: OpenAI. */
  profile?: ProfileName;
  /** Receives each call when it arrives. The simulator updates the call until its response has ended. */
  onCall?: (call: UpstreamCall) => void;
}

/** Starts the simulator on a port of the loopback interface. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const profile = options.profile === undefined ? undefined : PROFILES[options.profile];
  const requests: ReceivedRequest[] = [];
  /** By prompt, the functions that release its held calls with the directives of their responses, the newest last. */
  const held = new Map<string, ((directives: Directives) => void)[]>();
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
  const images = new ImageStore(origin);

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "/";
    const received: ReceivedRequest = {
      method: request.method ?? "GET",
      path,
      headers: request.headers,
      body: {},
    };
    if (images.has(path)) {
      images.serve(received, response);
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
      // A client that has died may have left an older call.
      const release = held.get(prompt)?.pop();
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
    const error = profile?.errorFor(received.body);
    if (error !== undefined) {
      sendJson(response, error.status, error.body);
      return;
    }
    const call = watchedCall(received.body, response);
    await respond(await released(parseRequest(call, profile)), received, response);
  }

  /** Waits until a held call is released. Returns it with the directives of its release. */
  async function released(request: ImageRequest): Promise<ImageRequest> {
    if (request.directives.get("hold") !== "") return request;
    return { ...request, directives: await hold(request) };
  }

  function hold({ prompt }: ImageRequest): Promise<Directives> {
    const { promise, resolve } = Promise.withResolvers<Directives>();
    held.set(prompt, [...(held.get(prompt) ?? []), resolve]);
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
    const served = profile === undefined ? SERVED : [profile.model];
    const data = served.filter((id) => !isUnavailable(id)).map((id) => ({ id, object: "model" }));
    sendJson(response, 200, { object: "list", data });
  }

  /** Returns the directives of a request, none if `times` excludes it. */
  function effectiveDirectives(prompt: string): Directives {
    const earlier = requests.filter((request) => request.body["prompt"] === prompt).length;
    const all = directivesIn(prompt);
    const isAffected = earlier <= numberOf(all, "times", Number.POSITIVE_INFINITY);
    return isAffected ? all : new Map<string, string>();
  }

  function watchedCall(body: RequestBody, response: ServerResponse): UpstreamCall {
    const call: UpstreamCall = {
      body,
      directives: effectiveDirectives(String(body["prompt"])),
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
      sendRequestedError(response, Number(status), request, received);
      return;
    }
    const error = profile === undefined ? openAiError(request) : undefined;
    if (error !== undefined) {
      sendJson(response, error.status, error.body);
      return;
    }
    if (request.stream) {
      const { trackUrl } = images;
      await streamImages(request, response, { pauseMs, hold: () => hold(request), trackUrl });
      return;
    }
    await send(response, await bodyFor(request, images), directives);
  }

  return {
    origin,
    baseUrl: `${origin}/v1`,
    received: (prompt) => requests.filter((request) => request.body["prompt"] === prompt),
    fetched: images.fetched,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
