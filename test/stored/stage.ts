import {
  createExecutionContext,
  listDurableObjectIds,
  reset,
  runInDurableObject,
  waitOnExecutionContext,
} from "cloudflare:test";
import type { WorkflowEvent, WorkflowStep } from "cloudflare:workers";
import { Webhook } from "standardwebhooks";
import { expect, inject, vi } from "vitest";
import worker, { Generation, ImageJob } from "../../src/index.ts";
import { eventually } from "../support/eventually.ts";
import { hookAt, type Hook } from "../support/webhooks/hook.ts";
import { webhookSecret } from "../support/webhooks/secret.ts";
import { environment } from "../support/worker/harness.ts";
import {
  dumpKv,
  dumpObjects,
  kvNamespaces,
  namespaces,
  sharedPrototype,
  textOrBytes,
} from "./dump.ts";
import {
  encode,
  type Exchange,
  type Scene,
  type StoredStep,
  type StoredWorkflow,
} from "./fixture.ts";

const ORIGIN = "https://gateway.example";
export const GENERATIONS = "/v1/images/generations";

interface SendOptions {
  method?: string;
  headers?: Record<string, string>;
  body?: unknown;
}

/** The fields of a JSON response that scenes read. */
export interface ResponseJson {
  id: string;
  jti: string;
  token: string;
  status: string;
  data?: { url: string }[];
  request_counts: { completed: number };
  delivery?: { status: string; attempts: unknown[] };
  days: { images: number; hits: number }[];
}

/**
 * Plays a scene: sends requests to the Worker, interrupts its work, and records its storage. It uses only
 * the Worker's routes, its exported classes and the methods that the platform calls, so that it also runs in
 * other versions.
 */
export class Stage {
  readonly vars: Record<string, string>;
  readonly #exchanges: Record<string, Exchange> = {};
  readonly #workflows: StoredWorkflow[] = [];
  readonly #names = new Map<string, string>();
  readonly #hooks: Hook[] = [];
  readonly #running: ExecutionContext[] = [];
  #failsFirstStep = false;
  #isOver = false;

  private constructor(vars: Record<string, string>) {
    this.vars = { UPSTREAM_BASE_URL: inject("upstreamUrl"), ...vars };
    this.#noteNames();
    this.#noteSteps();
  }

  /** Plays a scene and returns the storage at its end. */
  static async play(scene: (stage: Stage) => Promise<void>): Promise<Scene> {
    const stage = new Stage({});
    try {
      await scene(stage);
      const recorded = await stage.#record();
      // A hit is counted a second later, and must not be counted in the next scene.
      for (const context of stage.#running) await waitOnExecutionContext(context);
      return recorded;
    } finally {
      vi.restoreAllMocks();
      await reset();
    }
  }

  async #record(): Promise<Scene> {
    const takenAtMs = Date.now();
    this.#isOver = true;
    return {
      takenAtMs,
      vars: this.vars,
      exchanges: this.#exchanges,
      kv: await dumpKv(takenAtMs),
      objects: await dumpObjects(this.#names),
      workflows: structuredClone(this.#workflows),
      deliveries: (await Promise.all(this.#hooks.map((hook) => hook.received())))
        .flat()
        .map(({ headers, body }) => ({ eventId: String(headers["webhook-id"]), body })),
    };
  }

  /** Sends a request and records it with its response. */
  async exchange(name: string, path: string, options: SendOptions = {}): Promise<ResponseJson> {
    const { response, exchange } = await this.#send(path, options);
    this.#exchanges[name] = exchange;
    const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
    return (isJson ? await response.json() : {}) as ResponseJson;
  }

  /** Sends a request without recording it. */
  async read(path: string, options: SendOptions = {}): Promise<{ http: number } & ResponseJson> {
    const { response } = await this.#send(path, options);
    return { ...(await response.json<ResponseJson>()), http: response.status };
  }

  async #send(path: string, { method = "GET", headers = {}, body }: SendOptions) {
    const text = bodyText(body);
    const url = new URL(path, ORIGIN).href;
    const context = createExecutionContext();
    const request = new Request<unknown, IncomingRequestCfProperties>(url, {
      method,
      headers,
      body: text,
    });
    const response = await worker.fetch(request, environment(this.vars), context);
    const bytes = await response.clone().arrayBuffer();
    this.#running.push(context);
    const exchange: Exchange = {
      request: { method, url, headers, body: text },
      response: await notedResponse(response, bytes),
    };
    return { response, exchange };
  }

  /** Requests a stream; resolves when its first event has arrived. */
  async stream(body: object): Promise<void> {
    const init = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    };
    const request = new Request<unknown, IncomingRequestCfProperties>(
      `${ORIGIN}${GENERATIONS}`,
      init,
    );
    const context = createExecutionContext();
    const response = await worker.fetch(request, environment(this.vars), context);
    await response.body?.getReader().read();
  }

  /** Returns the `webhook_url` field of a body, for a new hook of the receiver. */
  hook(plan?: string): { webhook_url: string } {
    const hook = hookAt(inject("receiverUrl"), plan);
    this.#hooks.push(hook);
    return { webhook_url: hook.url };
  }

  /** Requests a generation. */
  generate(name: string, body: object, headers: Record<string, string> = {}) {
    return this.exchange(name, GENERATIONS, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body,
    });
  }

  /** Sends a signed webhook that submits a job. */
  webhook(name: string, body: object) {
    const id = `msg_${crypto.randomUUID()}`;
    const now = new Date();
    const headers = {
      "content-type": "application/json",
      "webhook-id": id,
      "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
      "webhook-signature": new Webhook(webhookSecret("in")).sign(id, now, JSON.stringify(body)),
    };
    return this.exchange(name, "/v1/webhooks/images", { method: "POST", headers, body });
  }

  /** Waits until a resource fulfils a condition. */
  async until(
    path: string,
    isReached: (json: { http: number } & ResponseJson) => boolean,
    headers: Record<string, string> = {},
  ): Promise<void> {
    await reached(async () => isReached(await this.read(path, { headers })));
  }

  /** Prevents alarms from running. */
  holdAlarms(): void {
    vi.spyOn(Generation.prototype, "alarm").mockResolvedValue();
  }

  /** Prevents Workflows from running. */
  holdWorkflows(): void {
    vi.spyOn(ImageJob.prototype, "run").mockImplementation((event) => {
      this.#noteWorkflow(event);
      return Promise.resolve();
    });
  }

  /** Makes KV writes fail. Returns a function that waits until one has failed. */
  failKv(): () => Promise<void> {
    const put = vi
      .spyOn(sharedPrototype(kvNamespaces()), "put")
      .mockRejectedValue(new Error("KV is down"));
    return () => reached(() => put.mock.calls.length > 0);
  }

  /** Makes the objects of a binding unreachable. Returns a function that waits until a call has failed. */
  failObjects(binding: string): () => Promise<void> {
    const prototype = sharedPrototype(namespaces());
    const namespace = namespaces().get(binding);
    const ids = new Set<string>();
    for (const [id, name] of this.#names) {
      if (namespace?.idFromName(name).toString() === id) ids.add(id);
    }
    // oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
    const { get } = prototype;
    const isOver = () => this.#isOver;
    let failed = 0;
    vi.spyOn(prototype, "get").mockImplementation(function (
      this: DurableObjectNamespace,
      id,
      ...rest
    ) {
      if (isOver() || !ids.has(id.toString())) return get.call(this, id, ...rest);
      failed += 1;
      throw new Error("the object is unreachable");
    });
    return () => reached(() => failed > 0);
  }

  /** Aborts every object of a binding, as a failure of its machine does. */
  async breakObjects(binding: string): Promise<void> {
    const namespace = namespaces().get(binding);
    if (namespace === undefined) throw new Error(`nothing is bound to ${binding}`);
    for (const id of await listDurableObjectIds(namespace)) {
      await runInDurableObject(namespace.get(id), (_, state) => {
        state.abort("the machine failed");
      }).catch(() => undefined);
    }
  }

  /** Makes the first step of every Workflow fail. */
  failFirstStep(): void {
    this.#failsFirstStep = true;
  }

  /** Waits until a Workflow sleeps. */
  async untilPaused(): Promise<void> {
    const isPaused = ({ steps }: StoredWorkflow) => {
      const last = steps.at(-1);
      return last?.kind === "sleep" && last.outcome === undefined;
    };
    await reached(() => this.#workflows.some((each) => isPaused(each)));
  }

  /** Waits until no step of a Workflow runs. */
  async untilStepsEnd(): Promise<void> {
    const steps = () => this.#workflows.flatMap((each) => each.steps);
    await reached(() => steps().every((step) => step.outcome !== undefined));
  }

  #noteNames(): void {
    const prototype = sharedPrototype(namespaces());
    // oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
    const { idFromName } = prototype;
    const names = this.#names;
    vi.spyOn(prototype, "idFromName").mockImplementation(function (
      this: DurableObjectNamespace,
      name,
    ) {
      const id = idFromName.call(this, name);
      names.set(id.toString(), name);
      return id;
    });
  }

  #noteWorkflow({ instanceId, payload }: Readonly<WorkflowEvent<unknown>>): StoredWorkflow {
    const className = ImageJob.name;
    const workflow = { className, instanceId, payload: encode(payload), steps: [] };
    this.#workflows.push(workflow);
    return workflow;
  }

  /** Records the steps of Workflows. A sleep never ends. */
  #noteSteps(): void {
    // oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
    const { run } = ImageJob.prototype;
    const noted = (event: Readonly<WorkflowEvent<unknown>>) => this.#noteWorkflow(event).steps;
    const failsFirstStep = () => this.#failsFirstStep;
    vi.spyOn(ImageJob.prototype, "run").mockImplementation(function (this: ImageJob, event, step) {
      return run.call(this, event, notingStep(step, noted(event), failsFirstStep));
    });
  }
}

/** Waits until a condition holds. */
export function reached(isReached: () => boolean | Promise<boolean>): Promise<void> {
  return eventually(async () => expect(await isReached()).toBe(true));
}

function notingStep(
  platformStep: WorkflowStep,
  steps: StoredStep[],
  failsFirstStep: () => boolean,
): WorkflowStep {
  const platform = platformStep as unknown as { do(...args: unknown[]): Promise<unknown> };
  const step = {
    async do(name: string, ...rest: unknown[]): Promise<unknown> {
      const noted: StoredStep = { kind: "do", name };
      steps.push(noted);
      try {
        if (failsFirstStep() && steps.length === 1) throw new Error("the step failed");
        const result = await platform.do(name, ...rest);
        noted.outcome = { result: encode(result) };
        return result;
      } catch (error) {
        noted.outcome = { error: String(error) };
        throw error;
      }
    },
    sleep(name: string): Promise<void> {
      steps.push({ kind: "sleep", name });
      return Promise.withResolvers<void>().promise;
    },
  };
  return step as unknown as WorkflowStep;
}

function bodyText(body: unknown): string | null {
  if (body === undefined) return null;
  return typeof body === "string" ? body : JSON.stringify(body);
}

/** The headers that a fixture holds. */
const NOTED_HEADERS = ["cache-control", "cache-status", "content-type", "etag"];

/** Returns a response as a fixture holds it. */
export async function notedResponse(
  { status, headers }: Response,
  bytes: ArrayBuffer,
): Promise<Exchange["response"]> {
  const text = textOrBytes(new Uint8Array(bytes));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
  return {
    status,
    headers: Object.fromEntries([...headers].filter(([name]) => NOTED_HEADERS.includes(name))),
    body: typeof text === "string" ? text : `sha256:${digest}`,
  };
}
