import { createHmac, hkdfSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { withSafetyIdentifier } from "../../../src/access/safety-identifier.ts";
import { parseImageRequest } from "../../../src/contract/request.ts";
import { testConfig } from "../../support/unit-config.ts";
import { OLD_TOKEN_SECRET, TOKEN_SECRET, VARS } from "../../support/vars.ts";

const ACCOUNT = "network/192.0.2.1";
const ON = { SAFETY_IDENTIFIERS: "on" };

/** Returns the identifier that the upstream is sent for a request. */
async function sent(body: object, vars: Record<string, unknown> = ON, account = ACCOUNT) {
  const config = testConfig(vars);
  const request = parseImageRequest({ prompt: "a", ...body }, config, Date.now());
  return (await withSafetyIdentifier(request, account, config)).upstream.safetyIdentifier;
}

/** Returns the documented identifier, computed by Node: HMAC-SHA-256 under a key by HKDF. */
function identifier(secret: string, account = ACCOUNT): string {
  const key = hkdfSync("sha256", secret, "", "darkroom safety identifier", 32);
  return createHmac("sha256", Buffer.from(key)).update(account).digest("hex");
}

describe("the safety identifier of a caller", () => {
  it("is a keyed hash of its account, in 64 hexadecimal digits", async () => {
    const value = await sent({});
    expect(value).toMatch(/^[0-9a-f]{64}$/);
    expect(value).toBe(identifier(VARS.ADMIN_KEY));
    expect(await sent({ prompt: "b", n: 2 })).toBe(value);
    expect(await sent({}, ON, "network/192.0.2.2")).not.toBe(value);
  });

  it.each([
    [{ TOKEN_SECRET: `${TOKEN_SECRET},${OLD_TOKEN_SECRET}` }, TOKEN_SECRET],
    [{}, VARS.ADMIN_KEY],
    [{ ADMIN_KEY: "" }, VARS.UPSTREAM_API_KEY],
  ])("has with %o the key that is derived from the first secret", async (vars, secret) => {
    expect(await sent({}, { ...ON, ...vars })).toBe(identifier(secret));
  });

  it.each([
    ["auto", "https://api.openai.com/v1", true],
    ["auto", "https://eu.api.openai.com/v1", true],
    ["auto", "https://other.example/v1", false],
    ["on", "https://other.example/v1", true],
    ["off", "https://api.openai.com/v1", false],
  ])("is sent with SAFETY_IDENTIFIERS %s to %s: %s", async (mode, url, isSent) => {
    const vars = { SAFETY_IDENTIFIERS: mode, UPSTREAM_BASE_URL: url };
    expect((await sent({ model: "gpt-image-2" }, vars)) !== undefined).toBe(isSent);
  });

  it("is not sent if the client sends one, or `user`", async () => {
    expect(await sent({ safety_identifier: "s-1" })).toBe("s-1");
    expect(await sent({ user: "u-1" })).toBeUndefined();
    expect(await sent({ user: "", safety_identifier: "" })).toBe(identifier(VARS.ADMIN_KEY));
  });

  it("is sent for GPT image models only, also for new ones and aliases", async () => {
    const vars = {
      ...ON,
      MODELS: "gpt-image-9,flux,dall-e-2,a",
      MODEL_ALIASES: "a=gpt-image-2",
      DEFAULT_MODEL: "flux",
    };
    expect(await sent({ model: "gpt-image-9" }, vars)).toBeDefined();
    expect(await sent({ model: "a" }, vars)).toBeDefined();
    expect(await sent({ model: "flux" }, vars)).toBeUndefined();
    expect(await sent({ model: "dall-e-2" }, vars)).toBeUndefined();
  });
});
