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
import { failAccounts, hangAccounts } from "./failing-accounts.ts";
import { CLIENTS, holdKvWrites, OBJECTS, setKvFault } from "./edge-kv.ts";
import { hasHeldAlarm, setHeldAlarm } from "./held-alarms.ts";
import {
  ADMIN,
  callWorker,
  environment,
  forgotten,
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
    for (const of of TROUBLES) setTrouble(of, undefined, model);
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
    await this.loseAlarm();
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
    this.#alarm = undefined;
  }

  async hasAlarm(): Promise<boolean> {
    return hasHeldAlarm(await this.#objectId());
  }

  /** Deletes the object's alarm. */
  async loseAlarm(): Promise<void> {
    setHeldAlarm(await this.#objectId(), undefined);
  }

  async #objectId(): Promise<string> {
    return (await sharedObject(this.body)).id.toString();
  }

  async crash(): Promise<void> {
    const object = await sharedObject(this.body);
    await runInDurableObject(object, (_, state) => {
      state.abort("as if the machine had crashed");
    }).catch(() => undefined);
    // The platform runs an alarm again that has not ended.
    if (this.#alarm !== undefined) setHeldAlarm(await this.#objectId(), Date.now());
    this.#alarm = undefined;
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

/**
 * Returns an event. After it, the upstream's calls and the spending must equal the model's, and the object has an
 * alarm if it must have one.
 */
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
      if (model.mustHaveAlarm()) expect(await real.hasAlarm(), "an alarm is set").toBe(true);
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

export function loseAlarm(): Event {
  return event(
    "the alarm of the queued generation is lost",
    async (model, real) => {
      model.alarmLost();
      await real.loseAlarm();
    },
    (model) => model.isQueued(),
  );
}

/** The upstream responds, and a DELETE arrives during a write of the copy to KV, from 0. */
export function removeDuringCopy(write: number): Event {
  return event(
    `upstream: image, and DELETE during write ${write} of the copy`,
    async (model, real) => {
      const id = model.inFlight ?? "none";
      const held = holdKvWrites(OBJECTS, write);
      const ended = real.release("");
      await eventually(() => expect(held.begun).toHaveLength(write + 1));
      const removal = real.delete(id);
      await forgotten(real.body, id);
      held.open();
      model.deletedDuringCopy(write, await removal);
      await ended;
    },
    ({ inFlight, troubles }) => inFlight !== undefined && troubles.size === 0,
  );
}

/** How a dependency is in trouble; `undefined` if it is not. */
export type Fault = "fails" | "hangs" | undefined;

export function trouble(of: Trouble, fault: Fault): Event {
  return event(`${of}: ${fault ?? "works"}`, async (model) => {
    setTrouble(of, fault, model);
    await Promise.resolve();
  });
}

const TROUBLES = ["kvReads", "kvWrites", "accounts"] as const;

function setTrouble(of: Trouble, fault: Fault, model: LifecycleModel): void {
  if (fault === undefined) model.troubles.delete(of);
  else model.troubles.add(of);
  switch (of) {
    case "kvReads":
      setKvFault(CLIENTS, "get", fault);
      setKvFault(CLIENTS, "getWithMetadata", fault);
      break;
    case "kvWrites":
      setKvFault(OBJECTS, "put", fault);
      break;
    case "accounts":
      if (fault === "hangs") hangAccounts();
      else failAccounts(fault === "fails");
      break;
  }
}

/** Ends all faults, then runs the object's alarm until no work is left. */
export async function drain(model: LifecycleModel, real: RealLifecycle): Promise<void> {
  for (const of of TROUBLES) setTrouble(of, undefined, model);
  if (model.inFlight !== undefined) await upstream("image").run(model, real);
  while (model.isUnfinished()) {
    await alarm().run(model, real);
    if (model.inFlight !== undefined) await upstream("image").run(model, real);
  }
}
