import { afterAll, beforeAll, expect, inject } from "vitest";
import {
  ADMIN_KEY,
  postGeneration,
  startGateway,
  UPSTREAM_KEY,
  WEBHOOK_SECRET,
  WEBHOOK_SIGNING_SECRET,
  type Gateway,
  type GatewayOptions,
} from "./gateway.ts";
import { eventually } from "./eventually.ts";
import { testClock } from "./test-clock.ts";
import {
  startSimulator,
  type ProfileName,
  type Simulator,
  type UpstreamCall,
} from "./upstream/simulator.ts";
import { TOKEN_SECRET } from "./vars.ts";
import { prompts } from "./bodies.ts";

/** A gateway and the simulator that is its upstream, both on sockets, for the tests of one file. */
export interface Stage {
  gateway: Gateway;
  upstream: Simulator;
  /** Sets the clock of both. Requires the option `at`. */
  setClock(time: string): Promise<void>;
  /** Returns how many requests for a prompt the upstream received. */
  calls: (prompt: string) => number;
  /** Releases the call that the upstream holds for a prompt, as soon as it holds one. */
  release(prompt: string): Promise<void>;
  /** Sends a POST to `/v1/images/generations` with a JSON body. */
  post(body: unknown, headers?: Record<string, string>): Promise<Response>;
}

export interface StageOptions extends Omit<GatewayOptions, "nowMs"> {
  /**
   * The time at the start. The upstream rejects the models that OpenAI has shut down at that time. Absent:
   * the machine's time, and an upstream that serves any model.
   */
  at?: string;
  /** The public server whose contract the upstream follows. Absent: OpenAI. */
  profile?: ProfileName;
  /** Receives each call of the upstream when it arrives. */
  onCall?: (call: UpstreamCall) => void;
}

/** The fields of a generation's body that tests read. */
export interface GenerationBody {
  id: string;
  created: number;
  model: string;
  data: { b64_json?: string; url?: string; revised_prompt?: string }[];
  choices: { index: number; message: { content: string } }[];
  usage: Record<string, unknown>;
}

/** The body of an error. */
export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

/**
 * Starts a gateway and a simulator before a file's tests, and closes them after the tests. Fails if the
 * gateway's log then holds a secret, or a prompt of these tests.
 *
 * @param vars vars and secrets that override those of all tests
 */
export function startStage(
  vars: Record<string, string | undefined> = {},
  { at, profile, onCall, ...options }: StageOptions = {},
): Stage {
  const clock = at === undefined ? undefined : testClock(at);
  let gateway: Gateway | undefined;
  let upstream: Simulator | undefined;
  beforeAll(async () => {
    upstream = await startSimulator({
      ...(clock === undefined ? {} : { openAiClock: () => clock.now() }),
      ...(profile === undefined ? {} : { profile }),
      ...(onCall === undefined ? {} : { onCall }),
    });
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
    expect(leaked, "secrets and prompts in the log").toEqual([]);
  });
  return {
    get gateway() {
      if (gateway === undefined) throw new Error("the stage has not started yet");
      return gateway;
    },
    get upstream() {
      if (upstream === undefined) throw new Error("the stage has not started yet");
      return upstream;
    },
    async setClock(time) {
      if (clock === undefined) throw new Error("the stage was started without a clock");
      clock.set(time);
      await this.gateway.setClock(clock.now());
    },
    calls: (prompt) => upstream?.received(prompt).length ?? 0,
    release: (prompt) =>
      eventually(async () => {
        const url = new URL("/release", upstream?.origin);
        url.searchParams.set("prompt", prompt);
        expect((await fetch(url)).status).toBe(204);
      }),
    post(body, headers) {
      return postGeneration(this.gateway, body, headers);
    },
  };
}

/** Also the prefix of every token (`{"alg":"` in base64url) and of every PNG in base64. */
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

/** Returns what all callers together have spent and received today. */
export async function usageToday({
  gateway,
}: Pick<Stage, "gateway">): Promise<{ spent_usd: number; images: number } | undefined> {
  const response = await fetch(`${gateway.url}/v1/usage`, {
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  });
  const { days } = await read<{ days: { spent_usd: number; images: number }[] }>(response);
  return days[0];
}

/** Returns the JSON body of a response, as the type that the test expects. */
export async function read<Body = GenerationBody>(response: Response): Promise<Body> {
  return (await response.json()) as Body;
}
