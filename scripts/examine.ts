/** What was found out of one part of a gateway. */
export interface Finding {
  name: string;
  ok: boolean;
  detail: string;
  /** What to do about it. */
  cure?: string | undefined;
  /** True if it works now, and the operator should change something in time. */
  warning?: boolean;
  /** Whether it was not looked at. */
  isSkipped?: boolean;
}

const TIMEOUT_MS = 30_000;

/** Tokens and signed addresses tell the time, webhooks to five minutes. */
const MAX_SKEW_SECONDS = 30;

interface Health {
  version: string;
  bindings: Record<string, boolean>;
  secrets: Record<string, boolean>;
  access: string;
  local_development: boolean;
}

interface Doctor {
  now_ms: number;
  checks: Finding[];
}

/**
 * Looks at a gateway: from outside, and from within where the admin key is known. Nothing is made, and
 * nothing is paid.
 *
 * @param origin of the gateway
 */
export async function examine(origin: string, adminKey: string | undefined): Promise<Finding[]> {
  const answer = await asked(`${origin}/health`);
  if (answer instanceof Error) {
    const cure = "Is it deployed, and is the address right?";
    return [{ name: "address", ok: false, detail: "nobody answers there", cure }];
  }
  if (answer.status !== 200) return [await misconfigured(answer)];
  const health: Health = JSON.parse(await answer.text());
  const config = { name: "configuration", ok: true, detail: `version ${health.version}` };
  return [config, ...fromOutside(origin, health), ...(await fromWithin(origin, adminKey))];
}

async function misconfigured(answer: Response): Promise<Finding> {
  const text = await answer.text();
  const message = /"message":"([^"]*)"/.exec(text)?.[1] ?? `it answers ${answer.status}`;
  const cure = "docs/variables.md says what each variable may be.";
  return { name: "configuration", ok: false, detail: message, cure };
}

function fromOutside(origin: string, health: Health): Finding[] {
  const isHere = isLocal(origin);
  const missing = namesOf(health.bindings, false);
  const set = namesOf(health.secrets, true);
  return [
    {
      name: "bindings",
      ok: missing.length === 0,
      detail: missing.length === 0 ? "all there" : `missing: ${missing.join(", ")}`,
      cure: "wrangler.toml of this repository has them all; deploy again.",
    },
    {
      name: "secrets",
      ok: set.includes("UPSTREAM_API_KEY"),
      detail: set.length === 0 ? "none is set" : `set: ${set.join(", ")}`,
      cure: isHere
        ? "A line UPSTREAM_API_KEY=… in .dev.vars; without one pictures are simulated."
        : "npx wrangler secret put UPSTREAM_API_KEY",
    },
    {
      name: "local",
      ok: isHere || !health.local_development,
      detail: health.local_development
        ? "LOCAL_DEVELOPMENT is on: http and this machine may be called"
        : "LOCAL_DEVELOPMENT is off",
      cure: "Take LOCAL_DEVELOPMENT out of the deployed Worker's variables.",
    },
    {
      name: "transport",
      ok: isHere || origin.startsWith("https:"),
      detail: new URL(origin).protocol.replace(":", ""),
      cure: "Use the https address.",
    },
    { name: "access", ok: true, detail: health.access },
  ];
}

async function fromWithin(origin: string, adminKey: string | undefined): Promise<Finding[]> {
  const name = "within";
  if (adminKey === undefined) {
    const detail = "not looked at: ADMIN_KEY is not known here";
    const cure = "ADMIN_KEY=… npm run doctor -- --url …, after npx wrangler secret put ADMIN_KEY";
    return [{ name, ok: true, isSkipped: true, detail, cure }];
  }
  if (!isLocal(origin) && !origin.startsWith("https:")) {
    const detail = "not looked at: the admin key is not sent in the clear";
    return [{ name, ok: true, isSkipped: true, detail }];
  }
  const askedMs = Date.now();
  const answer = await asked(`${origin}/v1/doctor`, { authorization: `Bearer ${adminKey}` });
  const answeredMs = Date.now();
  if (answer instanceof Error) return [{ name, ok: false, detail: "it does not answer in time" }];
  if (answer.status !== 200) {
    const cure = "npx wrangler secret put ADMIN_KEY, and the same one here";
    return [{ name, ok: false, detail: `the admin key is refused (${answer.status})`, cure }];
  }
  const { now_ms: now, checks }: Doctor = JSON.parse(await answer.text());
  const early = (askedMs - now) / 1000;
  const late = (now - answeredMs) / 1000;
  const skew = Math.max(0, early, late);
  return [
    ...checks,
    {
      name: "clock",
      ok: skew <= MAX_SKEW_SECONDS,
      detail: skew <= MAX_SKEW_SECONDS ? "as here" : `${Math.round(skew)} s from the one here`,
      cure: "Set the clock of this machine: tokens and signed addresses made here go by it.",
    },
  ];
}

function isLocal(origin: string): boolean {
  return ["127.0.0.1", "localhost", "[::1]"].includes(new URL(origin).hostname);
}

function namesOf(present: Record<string, boolean>, isPresent: boolean): string[] {
  return Object.keys(present).filter((name) => present[name] === isPresent);
}

function asked(url: string, headers: Record<string, string> = {}): Promise<Response | Error> {
  return fetch(url, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) }).catch((error: unknown) =>
    error instanceof Error ? error : new Error("no answer"),
  );
}
