import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { verifyToken } from "../../src/access/token.ts";
import { startStage } from "../support/stage.ts";
import { OLD_TOKEN_SECRET, TOKEN_SECRET } from "../support/vars.ts";
import { newPrompt } from "../support/bodies.ts";
import { tokenScript } from "../support/root.ts";

const stage = startStage({ ACCESS: "token" });
/** Runs the helper as a user does. */
function run(args: readonly string[], secret = TOKEN_SECRET) {
  const env = { ...process.env, TOKEN_SECRET: secret };
  return promisify(execFile)(process.execPath, [tokenScript, ...args], { env });
}

describe("npm run token", () => {
  it("prints a token that the gateway accepts, and its id and expiry", async () => {
    const { stdout, stderr } = await run(["--sub", "web", "--days", "2", "--max-n", "1"]);
    const token = stdout.trim();
    const claims = await verifyToken(token, [TOKEN_SECRET]);
    expect(claims).toMatchObject({ sub: "web", max_n: 1 });
    expect(claims.exp - claims.iat).toBe(2 * 24 * 60 * 60);
    expect(stderr).toBe(`${claims.jti}, expires ${new Date(claims.exp * 1000).toISOString()}\n`);
    const body = { prompt: newPrompt(), model: "dall-e-2", size: "256x256" };
    const response = await stage.post(body, { authorization: `Bearer ${token}` });
    expect(response.status).toBe(200);
  });

  it("signs with the first of two secrets", async () => {
    const { stdout } = await run(["--sub", "web"], `${TOKEN_SECRET},${OLD_TOKEN_SECRET}`);
    expect((await verifyToken(stdout.trim(), [TOKEN_SECRET])).sub).toBe("web");
  });

  it.each([
    [[], "npm run token -- --sub"],
    [["--sub", "a b"], "npm run token -- --sub"],
    [["--sub", "web", "--days", "366"], "npm run token -- --sub"],
    [["--sub", "web", "--origin", "example.com"], "npm run token -- --sub"],
    [["--sub", "web", "--nonsense"], "npm run token -- --sub"],
    [["--sub", "web", "--scope", "admin"], "npm run token -- --sub"],
    [["--sub", "web", "--max-n", "many"], "npm run token -- --sub"],
  ])("prints its usage for invalid options: %j", async (args, usage) => {
    await expect(run(args)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining(usage),
    });
  });
});
