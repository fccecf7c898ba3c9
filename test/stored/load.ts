import { createExecutionContext, evictDurableObject, runInDurableObject } from "cloudflare:test";
import type { WorkflowEvent, WorkflowStep } from "cloudflare:workers";
import { expect, vi } from "vitest";
import worker, { ImageJob } from "../../src/index.ts";
import { ADMIN, bindings, environment } from "../support/worker/harness.ts";
import { kvNamespaces, namespaces } from "./dump.ts";
import {
  decode,
  type Exchange,
  type Scene,
  type StoredObject,
  type StoredWorkflow,
} from "./fixture.ts";
import { notedResponse, reached } from "./stage.ts";

/** The admin's header in fixtures of versions that accept an admin key of any length. */
const EARLIER_ADMIN = "Bearer admin-key";

/** The steps of a Workflow that ran, and those that were replayed, by name. */
interface Replay {
  ran: string[];
  replayed: string[];
}

/** A scene that is stored again, at the time when it was taken. */
export class LoadedScene {
  readonly scene: Scene;
  /** The webhook deliveries since then. */
  readonly deliveries: { eventId: string; body: string }[] = [];
  /** The work of the Workflow instances that a test has created, by id. */
  readonly #work = new Map<string, (job: ImageJob) => Promise<void>>();

  // oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
  readonly #run = ImageJob.prototype.run;

  private constructor(scene: Scene) {
    this.scene = scene;
  }

  /**
   * Stores a scene, and sets the clock to its time.
   *
   * @param withoutClass the class whose objects are left out, as if their retention had ended
   */
  static async of(scene: Scene, withoutClass?: string): Promise<LoadedScene> {
    const loaded = new LoadedScene(scene);
    const platformNow = Date.now.bind(Date);
    const offsetMs = platformNow() - scene.takenAtMs;
    vi.spyOn(Date, "now").mockImplementation(() => platformNow() - offsetMs);
    loaded.#receiveWebhooks();
    loaded.#holdWorkflows();
    await loadKv(scene);
    const objects = scene.objects.filter(({ className }) => className !== withoutClass);
    for (const [index, object] of objects.entries()) {
      await loadObject(object, offsetMs, index === 0);
    }
    return loaded;
  }

  /** Returns the exchange with a name. */
  exchange(name: string): Exchange {
    const exchange = this.scene.exchanges[name];
    if (exchange === undefined) throw new Error(`the scene has no exchange ${name}`);
    return exchange;
  }

  /** Returns the names of the exchanges with a prefix. */
  named(prefix: string): string[] {
    return Object.keys(this.scene.exchanges).filter((name) => name.startsWith(prefix));
  }

  /** Returns the prompt of a request. */
  promptOf(name: string): string {
    return String(JSON.parse(String(this.exchange(name).request.body)).prompt);
  }

  /** Sends a request of the scene once more, with some headers and fields changed. */
  async repeat(
    name: string,
    changes: { headers?: Record<string, string>; body?: object } = {},
  ): Promise<Exchange["response"]> {
    const { method, url, headers, body } = this.exchange(name).request;
    const changed =
      changes.body === undefined
        ? body
        : JSON.stringify({ ...JSON.parse(String(body)), ...changes.body });
    const request = new Request<unknown, IncomingRequestCfProperties>(url, {
      method,
      headers: {
        ...headers,
        ...(headers["authorization"] === EARLIER_ADMIN ? ADMIN : {}),
        ...changes.headers,
      },
      body: changed,
    });
    const response = await worker.fetch(request, this.#environment(), createExecutionContext());
    return notedResponse(response, await response.clone().arrayBuffer());
  }

  /** Expects that a request of the scene has the recorded response. */
  async expectSame(name: string): Promise<void> {
    expectSameResponse(name, await this.repeat(name), this.exchange(name).response);
  }

  /** Runs the alarms of a class, as the platform does after a restart. */
  async runAlarms(className: string): Promise<void> {
    for (const { binding, id, className: itsClass } of this.scene.objects) {
      if (itsClass !== className) continue;
      await runInDurableObject(stubOf(binding, id), (instance) => instance.alarm?.());
    }
  }

  /** Continues the Workflows: steps with a recorded outcome are replayed, all others run. */
  async continueWorkflows(): Promise<Replay> {
    const replay: Replay = { ran: [], replayed: [] };
    for (const workflow of this.scene.workflows) {
      const { instanceId } = workflow;
      const payload = decode(workflow.payload);
      const step = replayingStep(workflow, replay);
      await this.#inWorkflow((job) =>
        this.#run.call(job, { instanceId, payload } as WorkflowEvent<unknown>, step),
      );
    }
    return replay;
  }

  /** Runs work in a Workflow instance, because only the platform can create instances of the class. */
  async #inWorkflow(work: (job: ImageJob) => Promise<void>): Promise<void> {
    const id = crypto.randomUUID();
    const ended: PromiseSettledResult<void>[] = [];
    this.#work.set(id, async (job) => {
      Reflect.set(job, "env", this.#environment());
      ended.push(...(await Promise.allSettled([work(job)])));
    });
    await bindings().IMAGE_JOB.create({ id });
    await reached(() => ended.length > 0);
    for (const each of ended) if (each.status === "rejected") throw new Error(String(each.reason));
  }

  /** Prevents Workflows from running, except those that a test continues. */
  #holdWorkflows(): void {
    const work = this.#work;
    vi.spyOn(ImageJob.prototype, "run").mockImplementation(async function (this: ImageJob, event) {
      await work.get(event.instanceId)?.(this);
    });
  }

  #environment(): object {
    return environment(this.scene.vars);
  }

  #receiveWebhooks(): void {
    const platformFetch = fetch;
    vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
      const eventId = new Headers(init?.headers).get("webhook-id");
      if (eventId === null) return platformFetch(input, init);
      this.deliveries.push({ eventId, body: await new Response(init?.body ?? null).text() });
      return new Response(null, { status: 204 });
    });
  }
}

/** The headers that do not depend on the state of the cache. */
const FIXED_HEADERS = ["cache-control", "content-type", "etag"];

function expectSameResponse(
  name: string,
  repeated: Exchange["response"],
  then: Exchange["response"],
): void {
  const comparable = ({ status, headers, body }: Exchange["response"]) => ({
    name,
    status,
    headers: FIXED_HEADERS.map((header) => [header, headers[header]]),
    body: withMessageTypes(jsonOf(body)),
  });
  // A later version may add fields.
  expect(comparable(repeated)).toMatchObject(comparable(then));
}

/** Returns JSON with the types of its error messages, not their words: a later version may reword them. */
function withMessageTypes(json: unknown): unknown {
  return JSON.parse(
    JSON.stringify(json, (key, value: unknown) => {
      if (value === null || typeof value !== "object") return value;
      if (key === "error" && "message" in value) {
        return { ...value, message: typeof value.message };
      }
      // Version 0.1.0 does not count cancelled jobs.
      return key === "request_counts" ? { cancelled: 0, ...value } : value;
    }),
  );
}

/** Returns a WorkflowStep that replays recorded outcomes by name, and runs the other steps. */
function replayingStep({ steps }: StoredWorkflow, replay: Replay): WorkflowStep {
  const known = new Map(steps.map((step) => [step.name, step.outcome]));
  const step = {
    do(name: string, ...rest: unknown[]): Promise<unknown> {
      const outcome = known.get(name);
      if (outcome === undefined) {
        replay.ran.push(name);
        return (rest.at(-1) as () => Promise<unknown>)();
      }
      replay.replayed.push(name);
      return "error" in outcome
        ? Promise.reject(new Error(outcome.error))
        : Promise.resolve(decode(outcome.result));
    },
    sleep(name: string): Promise<void> {
      replay.ran.push(name);
      return Promise.resolve();
    },
  };
  return step as unknown as WorkflowStep;
}

/** Parses a body that is JSON. */
export function jsonOf(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}

function stubOf(binding: string, id: string): DurableObjectStub {
  const namespace = namespaces().get(binding);
  if (namespace === undefined) throw new Error(`nothing is bound to ${binding}`);
  return namespace.get(namespace.idFromString(id));
}

async function loadKv({ kv }: Scene): Promise<void> {
  for (const { binding, key, value, metadata, expiresInSeconds } of kv) {
    const namespace = kvNamespaces().get(binding);
    if (namespace === undefined) throw new Error(`nothing is bound to ${binding}`);
    await namespace.put(key, decode(value) as string | Uint8Array<ArrayBuffer>, {
      metadata: decode(metadata),
      ...(expiresInSeconds === null ? {} : { expirationTtl: expiresInSeconds }),
    });
  }
}

/** Writes the storage of an object, then evicts the object, so that a new instance opens it. */
async function loadObject(
  { binding, id, name, alarmMs, tables, entries }: StoredObject,
  offsetMs: number,
  isFirst: boolean,
): Promise<void> {
  if (name !== null) expect(namespaces().get(binding)?.idFromName(name).toString()).toBe(id);
  const object = stubOf(binding, id);
  await runInDurableObject(object, async (_, { storage }) => {
    if (isFirst) translateAlarms(storage, offsetMs);
    await storage.deleteAll();
    for (const table of tables) {
      for (const sql of table.sql) storage.sql.exec(sql);
      for (const row of table.rows) {
        const columns = Object.keys(row);
        const places = columns.map(() => "?").join(", ");
        const values = Object.values(row).map((value) => sqlValue(decode(value)));
        storage.sql.exec(
          `INSERT INTO "${table.name}" (${columns.join(", ")}) VALUES (${places})`,
          ...values,
        );
      }
    }
    for (const [key, value] of Object.entries(entries)) await storage.put(key, decode(value));
    if (alarmMs !== null) await storage.setAlarm(alarmMs);
  });
  await evictDurableObject(object);
}

/** Translates the times of alarms from the scene's clock to the platform's. */
function translateAlarms(storage: DurableObjectStorage, offsetMs: number): void {
  const prototype = Object.getPrototypeOf(storage) as DurableObjectStorage;
  // oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
  const { setAlarm } = prototype;
  vi.spyOn(prototype, "setAlarm").mockImplementation(function (
    this: DurableObjectStorage,
    time,
    options,
  ) {
    return setAlarm.call(this, Number(time) + offsetMs, options);
  });
}

function sqlValue(value: unknown): SqlStorageValue {
  if (value instanceof Uint8Array) return value.slice().buffer;
  return value as SqlStorageValue;
}
