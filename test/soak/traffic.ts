import { readFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ADMIN_KEY } from "../support/gateway.ts";
import {
  requestOf,
  isSlow,
  type Account,
  type Journal,
  type Call,
  type Model,
  type Prompt,
} from "./journal.ts";
import type { Fault } from "./faults.ts";
import type { KillableGateway } from "./killable.ts";
import type { Random } from "./random.ts";
import { SOAK_PATHS } from "./worker.ts";

/** A response that was read to its end. */
export interface Reply {
  status: number;
  headers: Headers;
  body: Buffer;
  startedMs: number;
}

/** The outcome of a request. */
export type ReadResult =
  | { kind: "images"; id: string | undefined; calls: Call[] }
  | { kind: "pending"; location: string; body: Record<string, unknown> }
  | { kind: "error"; status: number; code: string | null };

/** The form in which a client requests its images. */
export type Form = "base64" | "url" | "image" | "stream" | "async" | "wait";

export interface SendOptions {
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  /** The number of milliseconds after which the client disconnects. */
  disconnectAfterMs?: number;
}

/** A request that holds an Idempotency-Key. */
export interface KeyedRequest {
  prompt: Prompt;
  headers: Record<string, string>;
  /** The id of its generation. */
  id: string;
  call: Call;
}

/** Error codes that a request may receive in addition to the code of its prompt's fault. */
interface Allowed {
  codes?: readonly string[];
}

const REPLY_WITHIN_MS = 60_000;
const POLL_WITHIN_MS = 60_000;
const POLL_PAUSE_MS = 250;
const MAX_BROKEN = 6;
/** For this time, a client repeats a request that a fault of KV or of the objects fails. */
const REPEAT_WITHIN_MS = 60_000;
const REPEAT_PAUSE_MS = 400;
/** Larger than any image without padding. The padding makes the images of each call different. */
const PADDED_BYTES: Record<Model, number> = { "dall-e-2": 150_000, "gpt-image-1.5": 400_000 };
const TOKEN_SECONDS = 30 * 24 * 60 * 60;

const DOCUMENTED_CODES = new Set(
  readFileSync(join(import.meta.dirname, "../../docs/errors.md"), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .flatMap((line) =>
      [...(line.split("|")[1] ?? "").matchAll(/`(\w+)`/g)].map(([, code]) => code),
    ),
);

/** Sends requests, checks the responses, and reports each deviation as a finding. */
export class Traffic {
  /** Requests by kind. */
  readonly sent = new Map<string, number>();
  readonly findings: string[] = [];
  /** Jobs in progress. Their Workflows are run again after a kill. */
  readonly openJobs = new Set<string>();
  /** The generations that were deleted, by id. */
  readonly deleted = new Map<string, Prompt>();
  /** Requests that hold an Idempotency-Key, with their generation. */
  readonly keyed: KeyedRequest[] = [];
  /** How often a client repeated a request because of a 500 that a fault of KV or of the objects explains. */
  repeated = 0;
  /** Errors by code. */
  readonly errors = new Map<string, number>();
  readonly journal: Journal;
  readonly gateway: KillableGateway;
  readonly #name: string;

  constructor(name: string, journal: Journal, gateway: KillableGateway) {
    this.#name = name;
    this.journal = journal;
    this.gateway = gateway;
  }

  /** Reports a problem, with the upstream calls of its prompt. */
  report(finding: string, prompt?: Prompt): void {
    const about =
      prompt === undefined
        ? ""
        : `; prompt: ${prompt.text}; calls: ${this.journal.calls(prompt).map(callInWords).join(", ")}`;
    const line = `${clockTime(Date.now())} ${finding}${about}`;
    this.findings.push(line);
    console.log(`finding: ${line}`);
  }

  /** Returns true if the gateway was killed after a time. */
  isDisturbed(sinceMs: number): boolean {
    return this.gateway.killsWithin(sinceMs, Date.now()).length > 0;
  }

  /** Returns true if KV or the objects were disturbed after a time. */
  isFaulty(sinceMs: number): boolean {
    const conditions = this.gateway.conditionsWithin(sinceMs, Date.now());
    return conditions.some(({ faults }) => Object.keys(faults).length > 0);
  }

  /** Returns true if requests may have failed after a time, because of a fault of KV or of the objects. */
  mayFail(sinceMs: number): boolean {
    return this.gateway.conditionsWithin(sinceMs, Date.now()).some(({ mayFail }) => mayFail);
  }

  /** Creates an account, with a token from the gateway. */
  async account(
    scenario: string,
    model: Model,
    { width = 1, ...limits }: AccountOptions = {},
  ): Promise<Account> {
    const name = `${this.#name}-${this.journal.accounts.length}-${scenario}`;
    const account: Account = {
      name,
      token: "",
      model,
      width,
      startedMs: Date.now(),
      endedMs: undefined,
    };
    this.journal.accounts.push(account);
    const reply = await this.send("token", "/v1/tokens", {
      body: { sub: name, ttl_seconds: TOKEN_SECONDS, ...limits },
      headers: { authorization: `Bearer ${ADMIN_KEY}` },
    });
    const { token } = jsonOf(reply) as { token?: string };
    if (reply.status !== 201 || token === undefined) throw new Error(`no token: ${reply.status}`);
    account.token = token;
    return account;
  }

  /** Creates a prompt of an account. */
  prompt(account: Account, random: Random, fault: Fault, isStored = true): Prompt {
    const bytes = fault.directives.includes("bytes=")
      ? ""
      : ` bytes=${PADDED_BYTES[account.model]}`;
    const text = `${account.name} ${this.journal.prompts.size} [upstream ${fault.directives}${bytes}]`;
    const isDallE = account.model === "dall-e-2";
    const prompt: Prompt = {
      text,
      account,
      fault,
      n: isDallE && random.chance(0.25) ? random.integer(2, 3) : 1,
      format: isDallE ? "png" : random.pick(["jpeg", "webp"]),
      permits: 0,
      isStored,
      startedMs: Date.now(),
    };
    this.journal.prompts.set(text, prompt);
    return prompt;
  }

  /**
   * Sends a request, and repeats it if the connection breaks, as any client does. A connection that a
   * kill broke is not a finding. A 500 that a fault of KV or of the objects explains is repeated too.
   */
  async send(kind: string, path: string, options: SendOptions): Promise<Reply> {
    const sentMs = Date.now();
    for (let broken = 0; broken < MAX_BROKEN;) {
      const reply = await this.sendOnce(kind, path, options);
      if (reply === undefined) {
        broken += 1;
        continue;
      }
      const isRepeated =
        reply.status === 500 &&
        this.mayFail(reply.startedMs) &&
        Date.now() - sentMs < REPEAT_WITHIN_MS &&
        envelopeOf(jsonOf(reply)).code === "internal_error";
      if (!isRepeated) return reply;
      this.repeated += 1;
      await sleep(REPEAT_PAUSE_MS);
    }
    throw new Error(`${kind} ${path}: no response after ${MAX_BROKEN} requests`);
  }

  /** Sends a request once; returns `undefined` if the connection broke, or the client disconnected. */
  async sendOnce(
    kind: string,
    path: string,
    {
      body,
      headers = {},
      method = body === undefined ? "GET" : "POST",
      disconnectAfterMs,
    }: SendOptions,
  ): Promise<Reply | undefined> {
    await this.gateway.up();
    count(this.sent, kind);
    const startedMs = Date.now();
    try {
      const response = await fetch(`${this.gateway.url}${path}`, {
        method,
        headers: {
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        ...(body === undefined
          ? {}
          : { body: typeof body === "string" ? body : JSON.stringify(body) }),
        signal: AbortSignal.timeout(disconnectAfterMs ?? REPLY_WITHIN_MS),
      });
      const bytes = Buffer.from(await response.arrayBuffer());
      return { status: response.status, headers: response.headers, body: bytes, startedMs };
    } catch (error) {
      const isKilled = this.gateway.killsWithin(startedMs, Date.now()).length > 0;
      const about = Object(body) as { prompt?: string };
      const isDeleted = this.#isDeletedBefore(startedMs, { text: String(about.prompt) });
      if (!isKilled && !isDeleted && disconnectAfterMs === undefined) {
        this.report(
          `${kind} ${method} ${path}: connection broke without a kill: ${reasonOf(error)}; sent ${clockTime(startedMs)}`,
          this.journal.prompts.get(String(about.prompt)),
        );
      }
      return undefined;
    }
  }

  /**
   * Requests the images of a prompt in a form, waits for its completion, and checks the response.
   *
   * @returns images or an error, never a pending generation
   */
  async obtain(
    prompt: Prompt,
    form: Form,
    headers: Record<string, string> = {},
    allowed: Allowed = {},
  ): Promise<Exclude<ReadResult, { kind: "pending" }>> {
    const result = await this.read(prompt, await this.post(prompt, form, headers), allowed);
    return result.kind === "pending" ? this.poll(prompt, result.location, allowed) : result;
  }

  /** Requests the images of a prompt in a form. */
  post(prompt: Prompt, form: Form, headers: Record<string, string> = {}): Promise<Reply> {
    return this.send(form, "/v1/images/generations", this.optionsOf(prompt, form, headers));
  }

  /** Returns the request for the images of a prompt in a form. */
  optionsOf(prompt: Prompt, form: Form, headers: Record<string, string> = {}): SendOptions {
    const { account, format } = prompt;
    const all = { authorization: `Bearer ${account.token}`, ...headers };
    switch (form) {
      case "base64":
        return { body: { ...requestOf(prompt), response_format: "b64_json" }, headers: all };
      case "url":
        return { body: { ...requestOf(prompt), response_format: "url" }, headers: all };
      case "image":
        return { body: requestOf(prompt), headers: { ...all, accept: `image/${format}` } };
      case "stream":
        return { body: requestOf(prompt, 2), headers: all };
      case "async":
        return { body: requestOf(prompt), headers: { ...all, prefer: "respond-async" } };
      case "wait":
        return { body: requestOf(prompt), headers: { ...all, prefer: "wait=1" } };
    }
  }

  /** Polls a generation or a job until it has completed or failed, and checks its response. */
  async poll(
    prompt: Prompt,
    location: string,
    allowed: Allowed = {},
  ): Promise<Exclude<ReadResult, { kind: "pending" }>> {
    const headers = { authorization: `Bearer ${prompt.account.token}` };
    for (const untilMs = Date.now() + POLL_WITHIN_MS; ;) {
      const reply = await this.send("poll", location, { headers });
      const result = await this.read(prompt, reply, allowed);
      if (result.kind !== "pending") return result;
      if (Date.now() > untilMs) throw new Error(`${location} is still in progress: ${prompt.text}`);
      await sleep(POLL_PAUSE_MS);
    }
  }

  /** Reads a response, and checks it against the upstream calls and the documentation. */
  async read(prompt: Prompt, reply: Reply, allowed: Allowed): Promise<ReadResult> {
    const type = reply.headers.get("content-type") ?? "";
    if (!reply.headers.has("x-request-id")) this.report(`no x-request-id`, prompt);
    if (reply.status === 202) {
      const body = jsonOf(reply);
      return { kind: "pending", location: String(reply.headers.get("location")), body };
    }
    if (reply.status !== 200) return this.#error(prompt, reply, jsonOf(reply), allowed);
    if (type.startsWith("text/event-stream")) return this.#streamed(prompt, reply, allowed);
    if (type.startsWith("image/")) {
      if (type !== `image/${prompt.format}`) this.report(`response of type ${type}`, prompt);
      const id = /gen_[\w-]+/.exec(reply.headers.get("content-location") ?? "")?.[0];
      return this.#images(prompt, id, [reply.body]);
    }
    const { id, data } = jsonOf(reply) as { id?: string; data?: Datum[] };
    return this.#images(prompt, id, await this.#bytesOf(prompt, data ?? []));
  }

  /** Returns the bytes of images, from their URLs or their base64. */
  async #bytesOf(prompt: Prompt, data: readonly Datum[]): Promise<Buffer[]> {
    return Promise.all(
      data.map(async ({ b64_json, url }) => {
        if (b64_json !== undefined) return Buffer.from(b64_json, "base64");
        return this.imageFile(prompt, new URL(String(url)).pathname);
      }),
    );
  }

  /** Fetches the file of an image. */
  async imageFile(prompt: Prompt, path: string): Promise<Buffer> {
    const reply = await this.send("image file", path, {});
    const type = reply.headers.get("content-type");
    const isServed = reply.status === 200 && type === `image/${prompt.format}`;
    if (!isServed && !this.#isDeletedBefore(reply.startedMs, prompt)) {
      this.report(`${path}: status ${reply.status}, type ${type},`, prompt);
    }
    return reply.body;
  }

  /**
   * Returns true if a generation of a prompt was deleted before a time. An entry of KV that was still being written
   * then may be read, and is deleted while it is read.
   */
  #isDeletedBefore(timeMs: number, prompt: Pick<Prompt, "text">): boolean {
    return this.journal
      .calls(prompt)
      .some(({ deletedMs = Number.POSITIVE_INFINITY }) => deletedMs <= timeMs);
  }

  #images(prompt: Prompt, id: string | undefined, images: readonly Buffer[]): ReadResult {
    const hashes = images.map((bytes) => createHash("sha256").update(bytes).digest("hex"));
    const calls = this.journal.callsWith(prompt, hashes);
    const [call] = calls;
    if (call === undefined) {
      if (this.#isDeletedBefore(Date.now(), prompt)) return { kind: "images", id, calls };
      const sizes = images.map((bytes) => bytes.byteLength).join(", ");
      this.report(`images that are those of no upstream call (${sizes} bytes, ${id})`, prompt);
    } else if (calls.length === 1) {
      call.deliveredMs ??= Date.now();
    }
    if (images.length !== prompt.n)
      this.report(`${images.length} images instead of ${prompt.n}`, prompt);
    return { kind: "images", id, calls };
  }

  async #streamed(prompt: Prompt, reply: Reply, allowed: Allowed): Promise<ReadResult> {
    const events = reply.body
      .toString()
      .split("\n\n")
      .flatMap((event) => /^data: (.*)$/m.exec(event)?.[1] ?? [])
      .map((data) => JSON.parse(data) as Datum & { type: string; error?: object });
    const last = events.at(-1);
    if (last?.type === "image_generation.completed") {
      return this.#images(prompt, undefined, await this.#bytesOf(prompt, [last]));
    }
    if (last?.type === "error") return this.#error(prompt, reply, { error: last.error }, allowed);
    this.report(`a stream without a final event`, prompt);
    return { kind: "error", status: 200, code: null };
  }

  /** Checks that an error has the documented form, and that its prompt or a kill explains it. */
  #error(
    prompt: Prompt,
    reply: Reply,
    body: Record<string, unknown>,
    allowed: Allowed,
  ): ReadResult {
    const { status, headers } = reply;
    const { code, isWellFormed } = envelopeOf(body);
    count(this.errors, String(code));
    const { fault } = prompt;
    const isFault = code === fault.code;
    const isKilled = this.gateway.killsWithin(prompt.startedMs, Date.now()).length > 0;
    const isAllowed =
      isFault ||
      allowed.codes?.includes(String(code)) === true ||
      (code === "upstream_outcome_unknown" && isKilled) ||
      (code === "upstream_timeout" && this.journal.calls(prompt).some(isSlow));
    const isDocumented = code === "some_code" || DOCUMENTED_CODES.has(String(code));
    if (!isWellFormed || !isDocumented || !isAllowed) {
      this.report(`error ${status} ${JSON.stringify(body).slice(0, 300)}`, prompt);
    }
    // An error event has no status and no headers of its own.
    if (isFault && status !== 200) {
      if (status !== fault.status) this.report(`${code} with status ${status}`, prompt);
      const isFinal = headers.get("x-should-retry") === "false";
      const isJob = "job" in body;
      if (isFinal !== (fault.isFinal === true) && !isJob) {
        this.report(`${code} with x-should-retry ${headers.get("x-should-retry")}`, prompt);
      }
    }
    return { kind: "error", status, code };
  }

  /** Checks the error of a request that must not reach the upstream. */
  expectError(reply: Reply, status: number, code: string, about: string): void {
    const envelope = envelopeOf(jsonOf(reply));
    count(this.errors, String(envelope.code));
    if (reply.status !== status || envelope.code !== code || !envelope.isWellFormed) {
      const text = reply.body.toString().slice(0, 300);
      this.report(`${about}: expected ${status} ${code}, got ${reply.status} ${text}`);
    }
  }

  /**
   * Deletes a generation.
   *
   * @param calls those of the generation; absent if they are all calls of the prompt
   * @returns false if it is still in progress
   */
  async remove(id: string, prompt: Prompt, calls?: readonly Call[]): Promise<boolean> {
    const path = `/v1/images/generations/${id}`;
    const sentMs = Date.now();
    const headers = { authorization: `Bearer ${ADMIN_KEY}` };
    const reply = await this.send("delete", path, { method: "DELETE", headers });
    if (reply.status === 409) {
      this.expectError(reply, 409, "generation_in_progress", `DELETE ${path}`);
      return false;
    }
    // An earlier attempt may have deleted it.
    const isRepeated = this.isDisturbed(sentMs) || this.mayFail(sentMs);
    if (reply.status !== 204 && !(isRepeated && reply.status === 404)) {
      this.report(`DELETE ${path}: status ${reply.status}`, prompt);
    }
    this.deleted.set(id, prompt);
    for (const call of calls ?? this.journal.calls(prompt)) call.deletedMs = Date.now();
    return true;
  }

  /** Runs the Workflow of a job again, as Cloudflare does after a restart. */
  async resumeJob(id: string): Promise<void> {
    if (!this.openJobs.has(id)) return;
    await this.sendOnce("resume", `${SOAK_PATHS.job}${id}`, {});
  }
}

export interface AccountOptions {
  width?: number;
  max_n?: number;
  budget_usd?: number;
}

interface Datum {
  b64_json?: string;
  url?: string;
}

/** Returns the JSON object in a response; an empty one if the body is no JSON object. */
export function jsonOf({ body }: Reply): Record<string, unknown> {
  try {
    return Object(JSON.parse(body.toString())) as Record<string, unknown>;
  } catch {
    return {};
  }
}

const ENVELOPE = ["message", "type", "param", "code"];

function envelopeOf(body: Record<string, unknown>): { code: string | null; isWellFormed: boolean } {
  const error = Object(body["error"]) as Record<string, unknown>;
  const { code, message } = error;
  const isWellFormed = ENVELOPE.every((name) => name in error) && typeof message === "string";
  return { code: typeof code === "string" ? code : null, isWellFormed };
}

function callInWords({ startedMs, endedMs, status, isWhole, images, deliveredMs }: Call): string {
  const end = endedMs === undefined ? "" : clockTime(endedMs);
  const delivered = deliveredMs === undefined ? "" : `, delivered ${clockTime(deliveredMs)}`;
  const extent = isWhole ? "whole" : "not whole";
  return `[${clockTime(startedMs)}–${end} ${status} ${extent}, ${images.length} images${delivered}]`;
}

/** Returns the UTC time of day with milliseconds. */
export function clockTime(ms: number): string {
  return new Date(ms).toISOString().slice(11, 23);
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error ? `${String(error)} (${cause.message})` : String(error);
}

/** Adds one to a count. */
function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}
