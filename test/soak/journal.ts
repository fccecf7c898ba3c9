import { costOf, type MicroDollars } from "../../src/contract/pricing.ts";
import type { UpstreamCall } from "../support/upstream/simulator.ts";
import type { Fault } from "./faults.ts";
import type { Kill } from "./killable.ts";

/** A caller. `/v1/usage` has one row for it, because it requests only one model. */
export interface Account {
  /** The subject of its token. */
  name: string;
  token: string;
  model: Model;
  /** How many of its generations may be in progress at once. */
  width: number;
  /** Milliseconds since the epoch, as every time here. */
  startedMs: number;
  /** The time of its last response. */
  endedMs: number | undefined;
}

export type Model = "dall-e-2" | "gpt-image-1.5";

/** A prompt that only one account requests, always with the same parameters. */
export interface Prompt {
  text: string;
  account: Account;
  fault: Fault;
  n: number;
  format: "png" | "jpeg" | "webp";
  /** Generations beyond the first that the client itself requested, as with `no-cache`. */
  permits: number;
  /** True if KV must store it; false with `no-store`. */
  isStored: boolean;
  startedMs: number;
}

/** An upstream call, and its delivery to the clients. */
export interface Call extends UpstreamCall {
  /** The time at which a client first received all its images. */
  deliveredMs?: number;
  /** The time at which its generation had been deleted. */
  deletedMs?: number;
}

/**
 * The time in which the gateway stores and settles a complete response. A kill in that time leaves the
 * outcome unknown.
 */
const STORING_MS = 5000;

/** A longer call may exceed the gateway's own timeout on a busy machine. */
const SLOW_MS = 6000;

/** The upstream's own prices: USD per million tokens, which is micro-dollars per token, or micro-dollars per image. */
const PER_IMAGE: Record<Model, MicroDollars> = { "dall-e-2": 16_000, "gpt-image-1.5": 0 };
const PER_TOKEN = { input: 5, output: 32 };

/** The accounts of a run, their prompts and the upstream calls for them. */
export class Journal {
  readonly accounts: Account[] = [];
  readonly prompts = new Map<string, Prompt>();
  readonly #calls = new Map<string, Call[]>();

  /** Records an upstream call. */
  add(call: Call): void {
    const text = String(call.body["prompt"]);
    const calls = this.#calls.get(text);
    if (calls === undefined) this.#calls.set(text, [call]);
    else calls.push(call);
  }

  /** Returns the calls for a prompt, oldest first. */
  calls({ text }: Pick<Prompt, "text">): Call[] {
    return this.#calls.get(text) ?? [];
  }

  allCalls(): Call[] {
    return [...this.#calls.values()].flat();
  }

  promptsOf(account: Account): Prompt[] {
    return [...this.prompts.values()].filter((prompt) => prompt.account === account);
  }

  /** Returns the usable calls with exactly these images, in this order. */
  callsWith(prompt: Prompt, hashes: readonly string[]): Call[] {
    return this.calls(prompt).filter(
      (call) => isGood(call) && call.images.join() === hashes.join(),
    );
  }
}

/** Returns true if the response to a call holds images that the gateway must accept. */
export function isGood(call: Call): boolean {
  return call.images.length > 0 && call.isWhole && !isBroken(call);
}

/** Returns true if the directives break a response after its images were generated. */
function isBroken({ directives }: Call): boolean {
  const body = directives.get("answer");
  return (
    directives.has("reset") || directives.has("then") || (body !== undefined && body !== "escaped")
  );
}

/** Returns true if a kill may have left the outcome of a call unknown to the gateway. */
export function isUncertain(call: Call, kills: readonly Kill[]): boolean {
  const { startedMs, endedMs = Number.POSITIVE_INFINITY, deliveredMs = Infinity } = call;
  return kills.some(
    ({ atMs }) => atMs >= startedMs && atMs <= endedMs + STORING_MS && atMs < deliveredMs,
  );
}

/** Returns true if the gateway may have given up on a call because of its timeout. */
export function isSlow({ startedMs, endedMs }: Call): boolean {
  return (endedMs ?? Number.POSITIVE_INFINITY) - startedMs > SLOW_MS;
}

/** Returns the money that the upstream charges for a call: for each image that it generated. */
export function paidFor(call: Call): MicroDollars {
  if (call.images.length === 0) return 0;
  const model = String(call.body["model"]) as Model;
  if (PER_IMAGE[model] > 0) return PER_IMAGE[model] * call.images.length;
  return call.tokens.input * PER_TOKEN.input + call.tokens.output * PER_TOKEN.output;
}

/** Returns the upper bound that the gateway reserves for the request of a call. */
function reservedFor(body: Call["body"]): MicroDollars {
  const partials = Number(body["partial_images"] ?? 0);
  const model = String(body["model"]);
  const request = {
    model,
    upstreamModel: model,
    size: typeof body["size"] === "string" ? body["size"] : "auto",
    quality: typeof body["quality"] === "string" ? body["quality"] : "standard",
    prompt: String(body["prompt"]),
    n: Number(body["n"]),
    options: undefined,
    further: {},
  };
  return costOf(request, partials, { prices: new Map(), svgModels: new Map() }).upperBound();
}

/** Returns true for a status after which the upstream has generated nothing (docs/errors.md). */
function isWithoutImage(status: number | undefined): boolean {
  return (
    status !== undefined && ((status >= 400 && status < 500) || [500, 502, 503].includes(status))
  );
}

/** Returns the amounts that the gateway may charge for a call. */
function chargesFor(call: Call, kills: readonly Kill[]): MicroDollars[] {
  const reserved = reservedFor(call.body);
  const isUnknown = isUncertain(call, kills) || isSlow(call);
  const known = isGood(call) ? paidFor(call) : isWithoutImage(call.status) ? 0 : reserved;
  return isUnknown ? [known, reserved] : [known];
}

/** The charges of an account, compared with the calls of its prompts. */
export interface Charge {
  isCorrect: boolean;
  /** The number of reservations that were charged without a call, because a kill came just before it. */
  withoutCall: number;
  /** The correct charges, as text. */
  expected: string;
}

/**
 * Compares the charges of an account with its upstream calls: they must be the sum of one correct
 * amount for each call. The gateway stores that it calls the upstream before it does. A kill between
 * the two also charges a reservation.
 */
export function chargeOf(
  account: Account,
  charged: MicroDollars,
  journal: Journal,
  kills: readonly Kill[],
): Charge {
  const prompts = journal.promptsOf(account);
  const calls = prompts.flatMap((prompt) => journal.calls(prompt));
  let sums = new Set<MicroDollars>([0]);
  for (const call of calls) {
    const charges = chargesFor(call, kills);
    sums = new Set([...sums].flatMap((sum) => charges.map((charge) => sum + charge)));
  }
  const bodies = prompts.flatMap((prompt) => [
    requestOf(prompt),
    requestOf(prompt, 1),
    requestOf(prompt, 2),
  ]);
  const reservations = new Set(bodies.map(reservedFor));
  const most = killedBeforeCall(account, calls, kills);
  for (let withoutCall = 0; withoutCall <= most; withoutCall += 1) {
    if (sums.has(charged)) return { isCorrect: true, withoutCall, expected: "" };
    sums = new Set([...sums].flatMap((sum) => [...reservations].map((each) => sum + each)));
  }
  const each = calls.map((call) => `${call.status}: ${chargesFor(call, kills).join(" or ")}`);
  return { isCorrect: false, withoutCall: 0, expected: each.join(" + ") || "0" };
}

/** Returns the number of generations of an account that a kill may have stopped before their call. */
function killedBeforeCall(
  account: Account,
  calls: readonly Call[],
  kills: readonly Kill[],
): number {
  const { startedMs, endedMs = Number.POSITIVE_INFINITY, width } = account;
  return kills
    .filter(({ atMs }) => atMs >= startedMs && atMs <= endedMs)
    .map(({ atMs }) => {
      const inProgress = calls.filter(
        (call) => call.startedMs <= atMs && (call.endedMs ?? Number.POSITIVE_INFINITY) > atMs,
      );
      return Math.max(0, width - inProgress.length);
    })
    .reduce((sum, each) => sum + each, 0);
}

/** Returns the body that requests the images of a prompt. */
export function requestOf(prompt: Prompt, partialImages = 0): Record<string, unknown> {
  const { text, n, format, account } = prompt;
  const body = { model: account.model, prompt: text, n };
  if (account.model === "dall-e-2") return { ...body, size: "256x256" };
  return {
    ...body,
    size: "1024x1024",
    quality: "low",
    output_format: format,
    ...(partialImages === 0 ? {} : { stream: true, partial_images: partialImages }),
  };
}
