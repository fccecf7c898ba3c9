import { runInDurableObject } from "cloudflare:test";
import type fc from "fast-check";
import { expect, inject } from "vitest";
import { spentToday } from "../../../src/access/accounts.ts";
import { costOf } from "../../../src/contract/pricing.ts";
import { parseImageRequest } from "../../../src/contract/request.ts";
import type { Generation } from "../../../src/generation/object.ts";
import { eventually } from "../eventually.ts";
import { reportedGeneration } from "../reported-generation.ts";
import { inputTokens, outputTokens } from "../upstream/tokens.ts";
import { failAccounts } from "./failing-accounts.ts";
import { CLIENTS, OBJECTS, setKvFault } from "./edge-kv.ts";
import {
  ADMIN,
  callWorker,
  environment,
  generationRequest,
  ORIGIN,
  sharedObject,
  testConfig,
  upstreamCalls,
} from "./harness.ts";
import {
  LifecycleModel,
  type Ending,
  type ModelResponse,
  type Trouble,
} from "./lifecycle-model.ts";
import { setClockAhead } from "./pass-time.ts";

/** The time between two events, in seconds, so that no key of KV is written twice in a second. */
const STEP_S = 2;

/** The Worker, one request, and the Generation object of its key. */
export class RealLifecycle {
  readonly body = {
    model: "gpt-image-2",
    quality: "low",
    size: "1024x640",
    prompt: `[upstream hold] ${crypto.randomUUID()}`,
  };
  readonly config = testConfig();
  readonly #environment = environment();
  #alarm: Promise<void> | undefined;
  #spentBefore = 0;

  async start(): Promise<LifecycleModel> {
    startInOneDay();
    this.#spentBefore = await spentToday(this.config);
    const { spec } = parseImageRequest(this.body, this.config, Date.now());
    const { upperBound, actual } = costOf(spec, 0, this.config);
    const input_tokens = inputTokens(this.body.prompt);
    const output_tokens = outputTokens({ ...this.body, width: 1024, height: 640 });
    const usage = { input_tokens, output_tokens, total_tokens: input_tokens + output_tokens };
    const model = new LifecycleModel(upperBound(), actual(reportedGeneration(usage)));
    // A run that failed has not ended its faults.
    for (const of of TROUBLES) setTrouble(of, false, model);
    return model;
  }

  async spent(): Promise<number> {
    return (await spentToday(this.config)) - this.#spentBefore;
  }

  calls(): Promise<number> {
    return upstreamCalls(this.body.prompt);
  }

  post(): Promise<ModelResponse> {
    const request = { ...this.body, response_format: "url" };
    return this.#send(generationRequest(request, { prefer: "respond-async" }));
  }

  async poll(id: string): Promise<ModelResponse> {
    return this.#send(new Request(`${ORIGIN}/v1/images/generations/${id}`));
  }

  async image(id: string): Promise<number> {
    const url = `${ORIGIN}/v1/images/${id}/0.png`;
    return (await callWorker(new Request(url), this.#environment)).status;
  }

  delete(id: string): Promise<ModelResponse> {
    const url = `${ORIGIN}/v1/images/generations/${id}`;
    return this.#send(new Request(url, { method: "DELETE", headers: ADMIN }));
  }

  /** Runs the object's alarm, to its end or, if it waits for the upstream, until the upstream has the call. */
  async alarm(isWaiting: boolean, calls: number): Promise<void> {
    const alarm = this.#inObject((instance) => instance.alarm());
    if (!isWaiting) return alarm;
    this.#alarm = alarm;
    // The alarm of an instance that crashes rejects.
    alarm.catch(() => undefined);
    await upstreamHas(calls, this);
  }

  async release(directives: string): Promise<void> {
    const url = new URL("/release", inject("upstreamUrl"));
    url.searchParams.set("prompt", this.body.prompt);
    url.searchParams.set("as", directives);
    const { ok } = await fetch(url);
    if (!ok) throw new Error("the upstream holds no call");
    await this.#alarm;
  }

  async crash(): Promise<void> {
    const object = await sharedObject(this.body);
    await runInDurableObject(object, (_, state) => {
      state.abort("as if the machine had crashed");
    }).catch(() => undefined);
  }

  async #inObject(run: (instance: Generation) => Promise<void>): Promise<void> {
    await runInDurableObject(await sharedObject(this.body), run);
  }

  async #send(request: Request<unknown, IncomingRequestCfProperties>): Promise<ModelResponse> {
    const response = await callWorker(request, this.#environment);
    const { status } = response;
    if (status === 204) return { status };
    const { id, error } = await response.json<{ id: string; error?: { code: string } }>();
    return error === undefined ? { status, id } : { status, code: error.code };
  }
}

function upstreamHas(calls: number, real: RealLifecycle): Promise<void> {
  return eventually(async () => expect(await real.calls()).toBe(calls));
}

const DAY_S = 24 * 60 * 60;
/** Longer than the longest schedule and the retries after it. */
const LONGEST_RUN_S = 12 * 60 * 60;

/** Sets the clock to the next day if the run could reach it: what is spent counts by the UTC day. */
function startInOneDay(): void {
  const leftS = DAY_S - (Math.floor(Date.now() / 1000) % DAY_S);
  if (leftS < LONGEST_RUN_S) setClockAhead(leftS);
}

type Event = fc.AsyncCommand<LifecycleModel, RealLifecycle>;

/** Returns an event. After it, the upstream's calls and the spending must equal the model's. */
function event(
  name: string,
  run: (model: LifecycleModel, real: RealLifecycle) => Promise<void>,
  check: (model: LifecycleModel) => boolean = () => true,
): Event {
  return {
    check,
    toString: () => name,
    async run(model, real) {
      pass(STEP_S, model);
      await run(model, real);
      expect(await real.calls(), "calls of the upstream").toBe(model.calls);
      expect(await real.spent(), "spent and reserved").toBe(model.spent());
    },
  };
}

function pass(seconds: number, model: LifecycleModel): void {
  model.nowS += seconds;
  setClockAhead(seconds);
}

const DIRECTIVES: Record<Ending, string> = {
  image: "",
  rejected: "status=400",
  blocked: "status=400 code=moderation_blocked",
  cut: "answer=truncated",
};

export function post(): Event {
  return event("POST", async (model, real) => model.posted(await real.post()));
}

export function poll(index: number): Event {
  const id = ({ ids }: LifecycleModel) => ids[index % ids.length] ?? "none";
  return event(
    `GET of id ${index}`,
    async (model, real) => {
      const response = await real.poll(id(model));
      model.polled(id(model), response, await real.image(id(model)));
    },
    ({ ids }) => ids.length > 0,
  );
}

export function remove(index: number): Event {
  const id = ({ ids }: LifecycleModel) => ids[index % ids.length] ?? "none";
  return event(
    `DELETE of id ${index}`,
    async (model, real) => model.deleted(id(model), await real.delete(id(model))),
    ({ ids }) => ids.length > 0,
  );
}

export function alarm(): Event {
  return event("alarm", async (model, real) => {
    const isWaiting = model.alarmed();
    await real.alarm(isWaiting, model.calls);
  });
}

export function upstream(ending: Ending): Event {
  return event(
    `upstream: ${ending}`,
    async (model, real) => {
      model.ended(ending);
      await real.release(DIRECTIVES[ending]);
    },
    ({ inFlight }) => inFlight !== undefined,
  );
}

export function crash(): Event {
  return event("crash", async (model, real) => {
    model.crashed();
    await real.crash();
  });
}

export function time(seconds: number): Event {
  return event(`${seconds} s pass`, async (model) => {
    pass(seconds, model);
    await Promise.resolve();
  });
}

export function trouble(of: Trouble, isOn: boolean): Event {
  return event(`${of} ${isOn ? "fail" : "work"}`, async (model) => {
    setTrouble(of, isOn, model);
    await Promise.resolve();
  });
}

const TROUBLES = ["kvReads", "kvWrites", "accounts"] as const;

function setTrouble(of: Trouble, isOn: boolean, model: LifecycleModel): void {
  if (isOn) model.troubles.add(of);
  else model.troubles.delete(of);
  const fault = isOn ? "fails" : undefined;
  switch (of) {
    case "kvReads":
      setKvFault(CLIENTS, "get", fault);
      setKvFault(CLIENTS, "getWithMetadata", fault);
      break;
    case "kvWrites":
      setKvFault(OBJECTS, "put", fault);
      break;
    case "accounts":
      failAccounts(isOn);
      break;
  }
}

/** Ends all faults, then runs the object's alarm until no work is left. */
export async function drain(model: LifecycleModel, real: RealLifecycle): Promise<void> {
  for (const of of TROUBLES) setTrouble(of, false, model);
  if (model.inFlight !== undefined) await upstream("image").run(model, real);
  while (model.isUnfinished()) {
    await alarm().run(model, real);
    if (model.inFlight !== undefined) await upstream("image").run(model, real);
  }
}
