import { afterAll, beforeAll, expect, inject } from "vitest";
import {
  ADMIN_KEY,
  startGateway,
  UPSTREAM_KEY,
  WEBHOOK_SECRET,
  WEBHOOK_SIGNING_SECRET,
  type Gateway,
  type GatewayOptions,
} from "./gateway.ts";
import { testClock } from "./test-clock.ts";
import { startSimulator, type Simulator } from "./upstream/simulator.ts";
import { TOKEN_SECRET } from "./vars.ts";
import { prompts } from "./bodies.ts";

/** A gateway and the upstream behind it, both on sockets, for the tests of one file. */
export interface Stage {
  gateway: Gateway;
  upstream: Simulator;
  /** Sets the clock of both; only on a stage that was set at a time. */
  setClock(time: string): Promise<void>;
  /** Returns how many requests for a prompt the upstream received. */
  calls: (prompt: string) => number;
  /** A POST to the generations with a JSON body. */
  post(body: unknown, headers?: Record<string, string>): Promise<Response>;
}

export interface StageOptions extends Omit<GatewayOptions, "nowMs"> {
  /**
   * The time at its start; the upstream then refuses the models that OpenAI has shut down. Absent: the
   * machine's time, and an upstream that paints for any model.
   */
  at?: string;
}

/** The answer of a generation, as tests read it. */
export interface Answer {
  id: string;
  created: number;
  model: string;
  data: { b64_json?: string; url?: string; revised_prompt?: string }[];
  choices: { index: number; message: { content: string } }[];
  usage: Record<string, unknown>;
}

/** What a test reads of an error. */
export interface ErrorAnswer {
  error: { message: string; type: string; param: string | null; code: string | null };
}

/**
 * Sets the stage before a file's tests, and clears it after them.
 *
 * Whatever its tests are about, the log holds no secret and no prompt of theirs.
 *
 * @param vars vars and secrets on top of those of the tests
 */
export function stage(
  vars: Record<string, string | undefined> = {},
  { at, ...options }: StageOptions = {},
): Stage {
  const clock = at === undefined ? undefined : testClock(at);
  let gateway: Gateway | undefined;
  let upstream: Simulator | undefined;
  beforeAll(async () => {
    upstream = await startSimulator(clock === undefined ? {} : { openAiClock: () => clock.now() });
    gateway = await startGateway(
      inject("bundle"),
      {
        UPSTREAM_BASE_URL: upstream.baseUrl,
        ...vars,
      },
      { ...options, ...(clock === undefined ? {} : { nowMs: clock.now() }) },
    );
  }, 60_000);
  afterAll(async () => {
    await gateway?.close();
    await upstream?.close();
    const leaked = [...SECRETS, ...prompts].filter((text) => gateway?.logs().includes(text));
    expect(leaked, "what the log holds and must not").toEqual([]);
  });
  return {
    get gateway() {
      if (gateway === undefined) throw new Error("the stage is not set yet");
      return gateway;
    },
    get upstream() {
      if (upstream === undefined) throw new Error("the stage is not set yet");
      return upstream;
    },
    async setClock(time) {
      if (clock === undefined) throw new Error("this stage goes by the machine's clock");
      clock.set(time);
      await this.gateway.setClock(clock.now());
    },
    calls: (prompt) => upstream?.received(prompt).length ?? 0,
    post(body, headers = {}) {
      return fetch(`${this.gateway.url}/v1/images/generations`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(body),
      });
    },
  };
}

/** With the beginning that every token has, `{"alg":"` in base64url, and that of base64 of a PNG. */
const SECRETS = [
  UPSTREAM_KEY,
  ADMIN_KEY,
  TOKEN_SECRET,
  WEBHOOK_SECRET,
  WEBHOOK_SIGNING_SECRET,
  "eyJhbGciOi",
  "iVBORw0KGgo",
  "Bearer ",
];

/** The body of an answer, read as what a test knows it to be. */
export async function read<Body = Answer>(response: Response): Promise<Body> {
  return (await response.json()) as Body;
}
