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

/** What the doctor prints of an address, and with what it ends. */
async function examined(
  url: string,
  adminKey = ADMIN_KEY,
): Promise<{ said: string; code: number }> {
  const env = { ...process.env, ADMIN_KEY: adminKey };
  const run = promisify(execFile)(process.execPath, [script, "--url", url], { env });
  const { stdout, code } = await run.then(
    (ended) => ({ stdout: ended.stdout, code: 0 }),
    (failed: { stdout: string; code: number }) => failed,
  );
  return { said: stdout, code };
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
  it("finds nothing where all is well, makes nothing, and prints no secret", async () => {
    await withGateway({}, async (gateway) => {
      const { said, code } = await examined(gateway.url);
      expect(said).toContain("All is well.");
      expect(said).not.toContain("failed");
      for (const name of ["upstream", "model", "kv", "object", "workflow", "budget", "clock"]) {
        expect(said).toMatch(new RegExp(`ok +${name} `));
      }
      expect(code).toBe(0);
      expect(said).not.toContain(ADMIN_KEY);
      expect(said).not.toContain(UPSTREAM_KEY);
      expect((await gateway.cache.list()).keys).toEqual([]);
    });
  });

  it.each<[Record<string, string | undefined>, RegExp, string]>([
    [
      { UPSTREAM_API_KEY: "sk-answers-401" },
      /failed +upstream +it does not take the key/,
      "secret put",
    ],
    [{ UPSTREAM_API_KEY: "sk-answers-402" }, /failed +upstream +it does not take/, "secret put"],
    [{ UPSTREAM_API_KEY: "sk-answers-302" }, /failed +upstream +reached/, "UPSTREAM_BASE_URL"],
    [{ UPSTREAM_API_KEY: undefined }, /failed +upstream +there is no key/, "UPSTREAM_API_KEY"],
    [
      { UPSTREAM_BASE_URL: "http://127.0.0.1:9" },
      /failed +upstream +it cannot be/,
      "UPSTREAM_BASE_URL",
    ],
    [
      { DEFAULT_MODEL: "dall-e-9", MODELS: "dall-e-9" },
      /failed +model +the upstream does not/,
      "ALIASES",
    ],
    [{ BUDGET_USD_PER_DAY: "0" }, /failed +budget +the day's money is spent/, "BUDGET_USD_PER_DAY"],
    [{ ACCESS: "everybody" }, /failed +configuration +.*ACCESS must be/, "docs/variables.md"],
  ])("says what is wrong and what to do: %j", async (vars, finding, cure) => {
    await withGateway(vars, async (gateway) => {
      const { said, code } = await examined(gateway.url);
      expect(said).toMatch(finding);
      expect(said).toContain(cure);
      expect(code).toBe(1);
    });
  });

  it("warns of a default that OpenAI shuts down, says what to do, and fails nothing", async () => {
    const vars = { RETIRED_MODELS: "replace", DEFAULT_MODEL: "gpt-image-1" };
    await withGateway(vars, async (gateway) => {
      const { said, code } = await examined(gateway.url);
      expect(said).toMatch(
        /warning +model +gpt-image-1, by default: OpenAI shut it down on 2026-10/,
      );
      expect(said).toMatch(/→ .*DEFAULT_MODEL = "gpt-image-2.6-sunburst"/);
      expect(said).toContain("All is well. 1 to change in time.");
      expect(code).toBe(0);
    });
  });

  it("takes an upstream that lists no models for what it is", async () => {
    await withGateway({ UPSTREAM_API_KEY: "sk-answers-404" }, async (gateway) => {
      const { said, code } = await examined(gateway.url);
      expect(said).toMatch(/ok +upstream +reached; it answers GET \/models with 404/);
      expect(code).toBe(0);
    });
  });

  it("fails a public address that runs as on a developer's machine, and in the clear", async () => {
    await withGateway({}, async (gateway) => {
      // The same machine, by a name that says nothing of that.
      const { said, code } = await examined(gateway.url.replace("127.0.0.1", "0.0.0.0"));
      expect(said).toMatch(/failed +local +LOCAL_DEVELOPMENT is on/);
      expect(said).toMatch(/failed +transport/);
      expect(said).toMatch(/– +within +not looked at: the admin key is not sent in the clear/);
      expect(code).toBe(1);
    });
  });

  it("says that the admin key is wrong, or not known", async () => {
    await withGateway({}, async (gateway) => {
      expect((await examined(gateway.url, "wrong")).said).toMatch(
        /failed +within +the admin key is/,
      );
      const unknown = await examined(gateway.url, "");
      expect(unknown.said).toMatch(/– +within +not looked at/);
      expect(unknown.code).toBe(0);
    });
  });

  it("says that nobody answers, and how it is used", async () => {
    expect((await examined("http://127.0.0.1:9")).said).toContain("nobody answers there");
    const env = { ...process.env };
    const run = promisify(execFile)(process.execPath, [script, "--nonsense"], { env });
    await expect(run).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining("npm run doctor"),
    });
  });
});

describe("GET /v1/doctor", () => {
  it("is for the owner", async () => {
    await withGateway({}, async (gateway) => {
      const response = await fetch(`${gateway.url}/v1/doctor`);
      expect(response.status).toBe(401);
    });
  });
});
