/** The result of checking one part of a gateway. */
export interface Check {
  name: string;
  ok: boolean;
  detail: string;
  /** How to fix a failed check. */
  fix?: string | undefined;
  /** True if the part works now, and the operator should change it in time. */
  warning?: boolean;
  /** True if the check did not run. */
  isSkipped?: boolean;
}

const TIMEOUT_MS = 30_000;

/** Tokens and signed URLs expire by the clock. Webhooks tolerate five minutes. */
const MAX_SKEW_SECONDS = 30;

interface Health {
  version: string;
  bindings: Record<string, boolean>;
  secrets: Record<string, boolean>;
  access: string;
  local_development: boolean;
}

/** The body of `GET /v1/diagnostics`. */
interface Diagnostics {
  now_ms: number;
  checks: DiagnosticsCheck[];
}

interface DiagnosticsCheck {
  name: string;
  ok: boolean;
  warning?: true;
  detail: string;
  cure?: string;
}

/**
 * Checks a gateway by its public endpoints and, with the admin key, its diagnostics. Generates
 * nothing and costs nothing.
 *
 * @param origin of the gateway
 */
export async function checkGateway(origin: string, adminKey: string | undefined): Promise<Check[]> {
  const response = await request(`${origin}/health`);
  if (response instanceof Error) {
    const fix = "Check the URL, and that the gateway is deployed.";
    return [{ name: "url", ok: false, detail: "no response", fix }];
  }
  if (response.status !== 200) return [await misconfigured(response)];
  const health: Health = JSON.parse(await response.text());
  const config = { name: "configuration", ok: true, detail: `version ${health.version}` };
  return [config, ...healthChecks(origin, health), ...(await diagnosticsChecks(origin, adminKey))];
}

async function misconfigured(response: Response): Promise<Check> {
  const text = await response.text();
  const detail = /"message":"([^"]*)"/.exec(text)?.[1] ?? `/health returned ${response.status}`;
  const fix = "See docs/variables.md for the values of each variable.";
  return { name: "configuration", ok: false, detail, fix };
}

function healthChecks(origin: string, health: Health): Check[] {
  const isOnThisMachine = isLoopback(origin);
  const missing = namesOf(health.bindings, false);
  const set = namesOf(health.secrets, true);
  return [
    {
      name: "bindings",
      ok: missing.length === 0,
      detail: missing.length === 0 ? "all present" : `missing: ${missing.join(", ")}`,
      fix: "Restore them in wrangler.toml from this repository, and deploy again.",
    },
    {
      name: "secrets",
      ok: set.includes("UPSTREAM_API_KEY"),
      detail: set.length === 0 ? "none set" : `set: ${set.join(", ")}`,
      fix: isOnThisMachine
        ? "Add UPSTREAM_API_KEY=… to .dev.vars. Without it, npm start simulates the upstream."
        : "npx wrangler secret put UPSTREAM_API_KEY",
    },
    {
      name: "local",
      ok: isOnThisMachine || !health.local_development,
      detail: health.local_development
        ? "LOCAL_DEVELOPMENT is on: allows http and upstreams on this machine"
        : "LOCAL_DEVELOPMENT is off",
      fix: "Remove LOCAL_DEVELOPMENT from the deployed Worker's variables.",
    },
    {
      name: "transport",
      ok: isOnThisMachine || origin.startsWith("https:"),
      detail: new URL(origin).protocol.replace(":", ""),
      fix: "Use the https URL.",
    },
    { name: "access", ok: true, detail: health.access },
  ];
}

async function diagnosticsChecks(origin: string, adminKey: string | undefined): Promise<Check[]> {
  const name = "diagnostics";
  if (adminKey === undefined) {
    const detail = "ADMIN_KEY is not set here";
    const fix = "ADMIN_KEY=… npm run doctor -- --url …, after npx wrangler secret put ADMIN_KEY";
    return [{ name, ok: true, isSkipped: true, detail, fix }];
  }
  if (!isLoopback(origin) && !origin.startsWith("https:")) {
    const detail = "the admin key is not sent over http";
    return [{ name, ok: true, isSkipped: true, detail }];
  }
  const sentMs = Date.now();
  const response = await request(`${origin}/v1/diagnostics`, {
    authorization: `Bearer ${adminKey}`,
  });
  const receivedMs = Date.now();
  if (response instanceof Error) return [{ name, ok: false, detail: "no response in time" }];
  if (response.status !== 200) {
    const fix = "Set the same ADMIN_KEY here and with npx wrangler secret put ADMIN_KEY.";
    return [{ name, ok: false, detail: `the admin key was rejected (${response.status})`, fix }];
  }
  const { now_ms: now, checks }: Diagnostics = JSON.parse(await response.text());
  const behindSeconds = (sentMs - now) / 1000;
  const aheadSeconds = (now - receivedMs) / 1000;
  const skewSeconds = Math.max(0, behindSeconds, aheadSeconds);
  const isInSync = skewSeconds <= MAX_SKEW_SECONDS;
  return [
    ...checks.map((check) => checkOf(check)),
    {
      name: "clock",
      ok: isInSync,
      detail: isInSync ? "in sync" : `${Math.round(skewSeconds)} s off this machine's clock`,
      fix: "Set this machine's clock. Tokens and signed URLs created here depend on it.",
    },
  ];
}

function checkOf({ cure, ...check }: DiagnosticsCheck): Check {
  return { ...check, fix: cure };
}

function isLoopback(origin: string): boolean {
  return ["127.0.0.1", "localhost", "[::1]"].includes(new URL(origin).hostname);
}

function namesOf(present: Record<string, boolean>, isPresent: boolean): string[] {
  return Object.keys(present).filter((name) => present[name] === isPresent);
}

function request(url: string, headers: Record<string, string> = {}): Promise<Response | Error> {
  return fetch(url, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) }).catch((error: unknown) =>
    error instanceof Error ? error : new Error("no response"),
  );
}
