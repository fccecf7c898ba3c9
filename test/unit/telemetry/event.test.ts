import { afterEach, describe, expect, it, vi } from "vitest";
import { RequestEvent } from "../../../src/telemetry/event.ts";
import { errorFields } from "../../../src/telemetry/log.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

describe("RequestEvent", () => {
  it("contains every added field and the time of each phase", async () => {
    const event = new RequestEvent("req_1");
    event.add({ model: "gpt-image-2" });
    event.add({ cache: "hit" });
    await event.time("cache", () => Promise.resolve());
    expect(event.fields()).toMatchObject({
      request_id: "req_1",
      model: "gpt-image-2",
      cache: "hit",
      cache_ms: expect.any(Number) as number,
      total_ms: expect.any(Number) as number,
    });
  });

  it("measures a phase that fails, and adds up a phase that runs twice", async () => {
    vi.spyOn(Date, "now").mockReturnValue(0);
    const event = new RequestEvent("req_1");
    const after = (ms: number) => () => {
      const now = Date.now();
      vi.mocked(Date.now).mockReturnValue(now + ms);
      return ms === 5 ? Promise.reject(new Error("no")) : Promise.resolve(ms);
    };
    await expect(event.time("cache", after(5))).rejects.toThrow("no");
    await event.time("upstream", after(100));
    await event.time("cache", after(2));
    expect(event.serverTiming()).toBe("cache;dur=7, upstream;dur=100, total;dur=107");
  });
});

describe("errorFields", () => {
  it("returns the class and the location of an Error, never its message", () => {
    const fields = errorFields(new TypeError("a private prompt"));
    expect(fields["error"]).toBe("TypeError");
    expect(JSON.stringify(fields)).not.toContain("private");
    expect(fields["at"]).toContain("event.test");
  });

  it.each([["a private text"], [{ prompt: "private" }], [null]])(
    "returns only the type of the thrown value %j",
    (thrown) => {
      expect(errorFields(thrown)).toEqual({ error: typeof thrown });
    },
  );
});
