import { describe, expect, it, vi } from "vitest";
import { Ledger } from "../../src/access/ledger.ts";
import { signQuery } from "../../src/access/signed-url.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { environment, fetchWorker, upstreamCalls } from "../support/worker/harness.ts";
import { TOKEN_SECRET } from "../support/vars.ts";

const env = environment({ TOKEN_SECRET });

quietAndFresh();

describe("a signed URL", () => {
  it("waits if its network has too many generations in progress, because a browser does not retry", async () => {
    vi.spyOn(Ledger.prototype, "reserve").mockReturnValueOnce("busy");
    const prompt = crypto.randomUUID();
    const parameters = { model: "dall-e-2", size: "256x256", prompt };
    const query = await signQuery(parameters, Math.floor(Date.now() / 1000) + 60, TOKEN_SECRET);
    const response = await fetchWorker(`/v1/images/generations?${query}`, env);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("image/png");
    expect(await upstreamCalls(prompt)).toBe(1);
  });
});
