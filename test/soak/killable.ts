import { fork, type ChildProcess } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CALM, type Condition } from "./conditions.ts";
import type { Message, ParentRequest } from "./gateway-process.ts";
import { SOAK_PATHS } from "./worker.ts";

/** One kill of the whole process group; times in milliseconds since the epoch. */
export interface Kill {
  atMs: number;
  /** The time at which the gateway was up again; `undefined` until then. */
  upMs: number | undefined;
}

/** A condition of KV and the objects, with the time of its start. */
interface Phase {
  condition: Condition;
  fromMs: number;
}

const START_WITHIN_MS = 60_000;
const RESPONSE_WITHIN_MS = 60_000;
const EXITED_WITHIN_MS = 10_000;

interface Running {
  child: ChildProcess;
  url: string;
  /** The responses that the process has not sent yet, by the id of their request. */
  responses: Map<number, PromiseWithResolvers<unknown>>;
}

/**
 * A call that a condition has disturbed may end this long after the condition: the gateway retries, and a
 * delayed call begins late.
 */
const AFTER_CONDITION_MS = 15_000;

/** A gateway in its own process group, which can be killed and restarted on its directory. */
export class KillableGateway {
  readonly kills: Kill[] = [];
  /** The conditions so far, oldest first. */
  readonly phases: [Phase, ...Phase[]] = [{ condition: CALM, fromMs: Date.now() }];
  readonly #file = join(import.meta.dirname, "gateway-process.ts");
  readonly #arguments: string[];
  #up = Promise.withResolvers<void>();
  #running: Running | undefined;
  /** The process that was started last. */
  #child: ChildProcess | undefined;
  #lastId = 0;

  /** @param vars on top of those that `test/support/gateway.ts` sets */
  constructor(bundle: string, directory: string, vars: Record<string, string>) {
    this.#arguments = [bundle, directory, JSON.stringify(vars)];
  }

  /** The URL without a trailing slash. It changes with each start. */
  get url(): string {
    if (this.#running === undefined) throw new Error("the gateway is down");
    return this.#running.url;
  }

  /** Waits until the gateway is up. */
  async up(): Promise<void> {
    while (this.#running === undefined) {
      await within(START_WITHIN_MS, this.#up.promise, "the gateway did not start");
    }
  }

  /** Returns the kills whose downtime overlaps a span of time. */
  killsWithin(startMs: number, endMs: number): Kill[] {
    return this.kills.filter(({ atMs, upMs = Number.POSITIVE_INFINITY }) => {
      return atMs <= endMs && upMs >= startMs;
    });
  }

  /** Returns the conditions that may have disturbed a span of time. */
  conditionsWithin(startMs: number, endMs: number): Condition[] {
    return this.phases
      .filter(({ fromMs }, index) => {
        const untilMs =
          (this.phases[index + 1]?.fromMs ?? Number.POSITIVE_INFINITY) + AFTER_CONDITION_MS;
        return fromMs <= endMs && untilMs >= startMs;
      })
      .map(({ condition }) => condition);
  }

  /** Changes the condition of KV and the objects. A restart keeps it. */
  async setCondition(condition: Condition): Promise<void> {
    // A request that is sent now already meets the new condition.
    this.phases.push({ condition, fromMs: Date.now() });
    if (this.#running !== undefined) await this.#applyCondition(this.#running.url);
  }

  async #applyCondition(url: string): Promise<void> {
    const { condition } = this.phases.at(-1) ?? this.phases[0];
    const { ok } = await fetch(
      `${url}${SOAK_PATHS.faults}${encodeURIComponent(JSON.stringify(condition.faults))}`,
    );
    if (!ok) throw new Error("the faults were not set");
  }

  /** Starts the process, and waits until the gateway listens. */
  async start(): Promise<void> {
    // In its own group, one signal kills Node and workerd at once.
    const child = fork(this.#file, this.#arguments, { detached: true });
    this.#child = child;
    const responses: Running["responses"] = new Map();
    const url = Promise.withResolvers<string>();
    child.on("message", (message: Message) => {
      if ("url" in message) url.resolve(message.url);
      else responses.get(message.id)?.resolve(message.value);
    });
    child.on("exit", (code, signal) => {
      const exited = new Error(`the gateway's process has exited: ${code ?? signal}`);
      url.reject(exited);
      for (const response of responses.values()) response.reject(exited);
    });
    try {
      const running = {
        child,
        responses,
        url: await within(START_WITHIN_MS, url.promise, "the gateway did not start"),
      };
      await this.#applyCondition(running.url);
      const last = this.kills.at(-1);
      if (last !== undefined) last.upMs = Date.now();
      this.#running = running;
      this.#up.resolve();
    } catch (error) {
      signalGroup(child, "SIGKILL");
      throw error;
    }
  }

  /**
   * Kills the whole process group at once.
   *
   * @throws if a process of the group is left
   */
  async kill(): Promise<void> {
    const running = this.#running;
    if (running === undefined) throw new Error("the gateway is down");
    this.#down();
    this.kills.push({ atMs: Date.now(), upMs: undefined });
    signalGroup(running.child, "SIGKILL");
    await untilExited(running.child);
  }

  /** Sends a request to the process and returns the response. */
  async request<Value>(request: ParentRequest): Promise<Value> {
    const running = this.#running;
    if (running === undefined) throw new Error("the gateway is down");
    this.#lastId += 1;
    const id = this.#lastId;
    const response = Promise.withResolvers<unknown>();
    running.responses.set(id, response);
    running.child.send({ id, request });
    try {
      return (await within(
        RESPONSE_WITHIN_MS,
        response.promise,
        `no response to: ${request}`,
      )) as Value;
    } finally {
      running.responses.delete(id);
    }
  }

  /** Stops the gateway gracefully. */
  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    await this.request("close");
    this.#down();
    await untilExited(running.child);
  }

  /** Kills all remaining processes of the group. */
  destroy(): void {
    if (this.#child !== undefined) signalGroup(this.#child, "SIGKILL");
  }

  #down(): void {
    this.#running = undefined;
    this.#up = Promise.withResolvers<void>();
  }
}

/**
 * Waits for a promise.
 *
 * @throws if the promise is still pending after `ms`
 */
export async function within<Value>(
  ms: number,
  promise: Promise<Value>,
  problem: string,
): Promise<Value> {
  const late = new AbortController();
  const timeout = sleep(ms, undefined, { signal: late.signal }).then(() => {
    throw new Error(problem);
  });
  timeout.catch(() => undefined);
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    late.abort();
  }
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {
    // The group has exited.
  }
}

async function untilExited({ pid = 0 }: ChildProcess): Promise<void> {
  for (const untilMs = Date.now() + EXITED_WITHIN_MS; groupMembers(pid).length > 0;) {
    if (Date.now() > untilMs)
      throw new Error(`processes survived the kill: ${groupMembers(pid).join(", ")}`);
    await sleep(20);
  }
}

/** Returns the ids of the processes of a group that still run (proc(5)), without zombies. */
function groupMembers(group: number): string[] {
  return readdirSync("/proc").filter((id) => {
    if (!/^\d+$/.test(id)) return false;
    try {
      // pid (name) state parent group …
      const stat = readFileSync(`/proc/${id}/stat`, "utf8");
      const [, state, ofGroup] = /\) (\S) \d+ (\d+)/.exec(stat) ?? [];
      return ofGroup === String(group) && state !== "Z";
    } catch {
      return false;
    }
  });
}
