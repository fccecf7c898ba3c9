import fc from "fast-check";
import { sign } from "hono/jwt";
import { describe, expect, it } from "vitest";
import {
  mintToken,
  requireWithinLimits,
  verifyToken,
  type TokenLimits,
} from "../../../src/access/token.ts";
import type { Failure } from "../../../src/errors/failure.ts";
import { TOKEN_SECRET as SECRET } from "../../support/vars.ts";
import { rejectionOf } from "../../support/failures.ts";

const OTHER = "another-secret-as-long-as-the-first-one";
const now = () => Math.floor(Date.now() / 1000);

function mint(limits: TokenLimits = {}, ttlSeconds = 60, secrets = [SECRET]) {
  return mintToken(secrets, { sub: "web", ttlSeconds, nowSeconds: now(), limits });
}

function failure(token: string, secrets = [SECRET]): Promise<Failure> {
  return rejectionOf(verifyToken(token, secrets));
}

const base64url = (value: unknown) =>
  new TextEncoder()
    .encode(JSON.stringify(value))
    .toBase64({ alphabet: "base64url", omitPadding: true });

/** Returns a token of this header and these claims, signed with HS256 even if `alg` differs. */
async function signedBy(secret: string, header: object, claims: object): Promise<string> {
  const head = `${base64url(header)}.${base64url(claims)}`;
  const key = await crypto.subtle.importKey(
    "raw",
    new TextEncoder().encode(secret),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  const signature = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(head));
  const text = new Uint8Array(signature).toBase64({ alphabet: "base64url", omitPadding: true });
  return `${head}.${text}`;
}

const claims = () => ({ sub: "web", jti: "tok_1", iat: now(), exp: now() + 60 });

describe("mintToken", () => {
  it("mints a token that verifyToken reads back with its subject, lifetime and limits", async () => {
    const limits = { origins: ["https://a.example"], models: ["dall-e-2"], max_n: 1 };
    const minted = await mint(limits);
    const verified = await verifyToken(minted.token, [SECRET]);
    expect(verified).toEqual({ ...minted.claims, ...limits });
    expect(verified.exp - verified.iat).toBe(60);
  });

  it("gives each token a unique id", async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => mint()));
    expect(new Set(ids.map((each) => each.claims.jti)).size).toBe(20);
  });

  it("mints a token that stays valid while its secret is the second one", async () => {
    const { token } = await mint({}, 60, [OTHER]);
    expect((await verifyToken(token, [SECRET, OTHER])).sub).toBe("web");
    expect(await failure(token, [SECRET])).toMatchObject({ problem: "signature" });
  });

  it("signs with the first secret", async () => {
    const { token } = await mint({}, 60, [SECRET, OTHER]);
    expect((await verifyToken(token, [SECRET])).sub).toBe("web");
  });
});

describe("verifyToken", () => {
  it("rejects a token that expired one second ago with `token_expired`", async () => {
    const token = await sign({ ...claims(), exp: now() - 1 }, SECRET, "HS256");
    expect(await failure(token)).toEqual({ code: "token_expired" });
  });

  it("rejects a token before its `nbf` as `not_yet_valid`", async () => {
    const token = await sign({ ...claims(), nbf: now() + 60 }, SECRET, "HS256");
    expect(await failure(token)).toMatchObject({ problem: "not_yet_valid" });
  });

  it.each([
    ["another secret", () => sign(claims(), OTHER, "HS256"), "signature"],
    ["another algorithm", () => sign(claims(), SECRET, "HS512"), "algorithm"],
    ["no algorithm", () => signedBy(SECRET, { alg: "none", typ: "JWT" }, claims()), "algorithm"],
    [
      "an asymmetric algorithm's name",
      () => signedBy(SECRET, { alg: "RS256" }, claims()),
      "algorithm",
    ],
    ["no subject", () => sign({ ...claims(), sub: undefined }, SECRET, "HS256"), "malformed"],
    [
      "no expiry",
      () => signedBy(SECRET, { alg: "HS256", typ: "JWT" }, { ...claims(), exp: undefined }),
      "malformed",
    ],
    [
      "a subject with a line break",
      () => sign({ ...claims(), sub: "a\nb" }, SECRET, "HS256"),
      "malformed",
    ],
    ["no dots", () => Promise.resolve("sk-of-another-service"), "malformed"],
    ["4097 characters", () => Promise.resolve("a".repeat(4097)), "oversized"],
  ])("rejects a token with %s as `invalid_token`", async (_, createToken, problem) => {
    expect(await failure(await createToken())).toEqual({
      code: "invalid_token",
      credential: "token",
      problem,
    });
  });

  it("rejects a token without its signature", async () => {
    const { token } = await mint();
    const [header, payload] = token.split(".");
    expect((await failure(`${header}.${payload}.`)).code).toBe("invalid_token");
    expect((await failure(`${header}.${payload}`)).code).toBe("invalid_token");
  });

  it("rejects a token with any one character changed or removed", async () => {
    const { token } = await mint();
    await fc.assert(
      fc.asyncProperty(
        fc.nat(token.length - 2),
        fc.constantFrom("A", "b", "_", ".", ""),
        async (index, character) => {
          const changed = token.slice(0, index) + character + token.slice(index + 1);
          fc.pre(changed !== token);
          // The expiry may be checked before the signature.
          expect(["invalid_token", "token_expired"]).toContain((await failure(changed)).code);
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe("requireWithinLimits", () => {
  const request = { model: "gpt-image-1.5", n: 2, quality: "high" };

  it("accepts a request within the limits, and any request without limits", () => {
    const matching = { models: ["gpt-image-1.5"], max_n: 2, qualities: ["high"] };
    for (const limits of [{}, matching]) {
      expect(() => requireWithinLimits(request, limits)).not.toThrow();
    }
  });

  it.each<[TokenLimits, string]>([
    [{ models: ["dall-e-2"] }, "model_not_allowed"],
    [{ max_n: 1 }, "integer_above_max_value"],
    [{ qualities: ["low"] }, "invalid_value"],
  ])("rejects a request outside the limits %j with `%s`", (limits, code) => {
    expect(() => requireWithinLimits(request, limits)).toThrow(code);
  });
});
