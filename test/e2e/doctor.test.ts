import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { ADMIN_KEY, startGateway, UPSTREAM_KEY, type Gateway } from "../support/gateway.ts";
import { startSimulator, type Simulator } from "../support/upstream/simulator.ts";

const script = join(import.meta.dirname, "../../scripts/doctor.ts");

let upstream: Simulator;
beforeAll(async () => {
  upstream = await startSimulator();
});
afterAll(() => upstream.close());

/** Runs the doctor, and returns its output and its exit code. */
async function runDoctor(
  url: string,
  adminKey = ADMIN_KEY,
): Promise<{ output: string; code: number }> {
  const env = { ...process.env, ADMIN_KEY: adminKey };
  const run = promisify(execFile)(process.execPath, [script, "--url", url], { env });
  const { stdout, code } = await run.then(
    ({ stdout: output }) => ({ stdout: output, code: 0 }),
    (failed: { stdout: string; code: number }) => failed,
  );
  return { output: stdout, code };
}

async function withGateway<Result>(
  vars: Record<string, string | undefined>,
  use: (gateway: Gateway) => Promise<Result>,
): Promise<Result> {
  const gateway = await startGateway(inject("bundle"), {
    UPSTREAM_BASE_URL: upstream.baseUrl,
    ...vars,
  });
  try {
    return await use(gateway);
  } finally {
    await gateway.close();
  }
}

describe("npm run doctor", () => {
  it("passes a working gateway, generates nothing and prints no secret", async () => {
    await withGateway({}, async (gateway) => {
      const { output, code } = await runDoctor(gateway.url);
      expect(output).toContain("All checks passed.");
      expect(output).not.toContain("failed");
      for (const name of ["upstream", "model", "kv", "object", "workflow", "budget", "clock"]) {
        expect(output).toMatch(new RegExp(`ok +${name} `));
      }
      expect(code).toBe(0);
      expect(output).not.toContain(ADMIN_KEY);
      expect(output).not.toContain(UPSTREAM_KEY);
      expect((await gateway.cache.list()).keys).toEqual([]);
    });
  });

  it.each<[Record<string, string | undefined>, RegExp, string]>([
    [
      { UPSTREAM_API_KEY: "sk-answers-401" },
      /failed +upstream +the upstream rejected the key \(401\)/,
      "secret put",
    ],
    [
      { UPSTREAM_API_KEY: "sk-answers-402" },
      /failed +upstream +the upstream rejected the key \(402\)/,
      "secret put",
    ],
    [
      { UPSTREAM_API_KEY: "sk-answers-302" },
      /failed +upstream +the upstream responded to GET \/models with 302 and no list, so the key is not verified/,
      "UPSTREAM_BASE_URL",
    ],
    [
      { UPSTREAM_API_KEY: undefined },
      /failed +upstream +UPSTREAM_API_KEY is not set/,
      "UPSTREAM_API_KEY",
    ],
    [
      { UPSTREAM_BASE_URL: "http://127.0.0.1:9" },
      /failed +upstream +the upstream is unreachable/,
      "UPSTREAM_BASE_URL",
    ],
    [
      { DEFAULT_MODEL: "dall-e-9", MODELS: "dall-e-9" },
      /failed +model +the upstream does not list dall-e-9/,
      "ALIASES",
    ],
    [{ BUDGET_USD_PER_DAY: "0" }, /failed +budget +today's budget is spent/, "BUDGET_USD_PER_DAY"],
    [{ ACCESS: "everybody" }, /failed +configuration +.*ACCESS must be/, "docs/variables.md"],
  ])("reports the failed check and its fix: %j", async (vars, line, fix) => {
    await withGateway(vars, async (gateway) => {
      const { output, code } = await runDoctor(gateway.url);
      expect(output).toMatch(line);
      expect(output).toContain(fix);
      expect(code).toBe(1);
    });
  });

  it("warns about a default model that OpenAI shuts down, and exits with code 0", async () => {
    const vars = { RETIRED_MODELS: "replace", DEFAULT_MODEL: "gpt-image-1" };
    await withGateway(vars, async (gateway) => {
      const { output, code } = await runDoctor(gateway.url);
      expect(output).toMatch(
        /warning +model +the default is gpt-image-1: OpenAI shut it down on 2026-10/,
      );
      expect(output).toMatch(/→ .*DEFAULT_MODEL = "gpt-image-2.6-sunburst"/);
      expect(output).toContain("All checks passed. 1 warning.");
      expect(code).toBe(0);
    });
  });

  it("passes an upstream that has no list of models", async () => {
    await withGateway({ UPSTREAM_API_KEY: "sk-answers-404" }, async (gateway) => {
      const { output, code } = await runDoctor(gateway.url);
      expect(output).toMatch(
        /ok +upstream +the upstream responded to GET \/models with 404 and no list, so the key is not verified/,
      );
      expect(code).toBe(0);
    });
  });

  it("fails a public URL with LOCAL_DEVELOPMENT or without https, and does not send it the admin key", async () => {
    await withGateway({}, async (gateway) => {
      // An address of this machine that the doctor does not treat as loopback.
      const { output, code } = await runDoctor(gateway.url.replace("127.0.0.1", "0.0.0.0"));
      expect(output).toMatch(/failed +local +LOCAL_DEVELOPMENT is on/);
      expect(output).toMatch(/failed +transport/);
      expect(output).toMatch(/skipped +diagnostics +the admin key is not sent over http/);
      expect(code).toBe(1);
    });
  });

  it("reports a wrong admin key, and skips the diagnostics without one", async () => {
    await withGateway({}, async (gateway) => {
      expect((await runDoctor(gateway.url, "wrong")).output).toMatch(
        /failed +diagnostics +the admin key was rejected/,
      );
      const unset = await runDoctor(gateway.url, "");
      expect(unset.output).toMatch(/skipped +diagnostics +ADMIN_KEY is not set/);
      expect(unset.code).toBe(0);
    });
  });

  it("reports a URL that does not respond, and prints its usage for an unknown option", async () => {
    expect((await runDoctor("http://127.0.0.1:9")).output).toContain("no response");
    const env = { ...process.env };
    const run = promisify(execFile)(process.execPath, [script, "--nonsense"], { env });
    await expect(run).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining("npm run doctor"),
    });
  });
});

describe("GET /v1/doctor", () => {
  it("requires the admin key", async () => {
    await withGateway({}, async (gateway) => {
      const response = await fetch(`${gateway.url}/v1/doctor`);
      expect(response.status).toBe(401);
    });
  });
});
