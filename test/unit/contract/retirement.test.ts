import { describe, expect, it } from "vitest";
import { KNOWN_MODELS, knownModel } from "../../../src/contract/models.ts";
import { costOf } from "../../../src/contract/pricing.ts";
import type { ImageSpec } from "../../../src/contract/image-spec.ts";
import { parseImageRequest, withSuccessor } from "../../../src/contract/request.ts";
import { sizeProblem } from "../../../src/contract/sizes.ts";
import {
  isOpenAiUrl,
  replacementOf,
  successorAt,
  withdrawalAt,
  type RetirementPolicy,
} from "../../../src/contract/retirement.ts";
import { testConfig } from "../../support/unit-config.ts";
import { failureOf } from "../../support/failures.ts";
import { DECEMBER_MS } from "../../support/upstream/shutdowns.ts";

const OPENAI: RetirementPolicy = { retiredModels: "auto", isOpenAi: true };
const OTHER: RetirementPolicy = { retiredModels: "auto", isOpenAi: false };

const RETIRED_GPT_IMAGE = KNOWN_MODELS.flatMap(({ id, shutdown, successor, rules }) =>
  shutdown !== null && successor !== null && rules.imageOptions
    ? [{ id, midnight: Date.parse(`${shutdown}T00:00:00Z`), successor }]
    : [],
);
const DALL_E = ["dall-e-2", "dall-e-3"];

/** A time after every announced shutdown. */
const AFTER_ALL = Date.UTC(2027, 0, 1);

function named(id: string, isAlias = false) {
  return { id, isAlias };
}

describe("KNOWN_MODELS", () => {
  it("lists the documented successor of each GPT image model with a shutdown", () => {
    expect(
      Object.fromEntries(RETIRED_GPT_IMAGE.map(({ id, successor }) => [id, successor])),
    ).toEqual({
      "gpt-image-1": "gpt-image-2.6-sunburst",
      "gpt-image-1-mini": "gpt-image-2.6-flare",
      "gpt-image-1.5": "gpt-image-2.6-sunburst",
      "chatgpt-image-latest": "gpt-image-2.6-sunburst",
    });
  });

  it.each(KNOWN_MODELS.filter(({ shutdown }) => shutdown !== null))(
    "lists for $id a known successor with a later shutdown or none",
    ({ shutdown, successor }) => {
      const next = knownModel(String(successor));
      expect(next).toBeDefined();
      expect((next?.shutdown ?? "9999") > String(shutdown)).toBe(true);
    },
  );

  it.each(RETIRED_GPT_IMAGE)(
    "gives $successor rules that accept every request for $id",
    ({ id, successor }) => {
      const [from, to] = [knownModel(id)?.rules, knownModel(successor)?.rules];
      if (from === undefined || to === undefined) return expect.fail("unknown");
      expect(to.imageOptions).toBe(from.imageOptions);
      expect(to.promptMaxChars).toBeGreaterThanOrEqual(from.promptMaxChars);
      expect(to.maxImages).toBeGreaterThanOrEqual(from.maxImages);
      expect(to.qualities).toEqual(expect.arrayContaining([...from.qualities]));
      // Default values are not sent, so both models must have the same defaults.
      expect([to.qualities[0], to.defaultSize]).toEqual([from.qualities[0], from.defaultSize]);
      if (from.sizes.kind !== "listed") return expect.fail("free sizes");
      for (const size of from.sizes.sizes) expect(sizeProblem(size, to.sizes)).toBeUndefined();
    },
  );
});

describe("a model with or without a shutdown", () => {
  it.each(RETIRED_GPT_IMAGE)(
    "is replaced from midnight UTC on: $id by $successor",
    ({ id, midnight, successor }) => {
      expect(successorAt(named(id), OPENAI, midnight - 1)).toBeUndefined();
      expect(successorAt(named(id), OPENAI, midnight)).toBe(successor);
      expect(successorAt(named(id), OPENAI, AFTER_ALL)).toBe(successor);
    },
  );

  it("is replaced from midnight UTC on as a dated snapshot too", () => {
    const snapshot = named("gpt-image-1.5-2025-12-16");
    expect(successorAt(snapshot, OPENAI, Date.UTC(2026, 10, 30, 23, 59, 59, 999))).toBeUndefined();
    expect(successorAt(snapshot, OPENAI, DECEMBER_MS)).toBe("gpt-image-2.6-sunburst");
  });

  it.each([
    ["auto", true, true],
    ["auto", false, false],
    ["replace", true, true],
    ["replace", false, true],
    ["keep", true, false],
    ["keep", false, false],
  ] as const)(
    "with RETIRED_MODELS %s and OpenAI as the upstream %s is replaced after its shutdown: %s",
    (retiredModels, isOpenAi, isExpected) => {
      const policy = { retiredModels, isOpenAi };
      expect(successorAt(named("gpt-image-1"), policy, AFTER_ALL) !== undefined).toBe(isExpected);
      expect(replacementOf(named("gpt-image-1"), policy) !== undefined).toBe(isExpected);
    },
  );

  it("is neither replaced nor withdrawn if it is an alias", () => {
    expect(successorAt(named("gpt-image-1", true), OPENAI, AFTER_ALL)).toBeUndefined();
    expect(withdrawalAt(named("dall-e-3", true), OPENAI, AFTER_ALL)).toBeUndefined();
  });

  it.each(["gpt-image-2", "gpt-image-2.6-flare", "gpt-image-9", "my-model"])(
    "is neither replaced nor withdrawn without a shutdown: %s",
    (id) => {
      expect(successorAt(named(id), OPENAI, AFTER_ALL)).toBeUndefined();
      expect(withdrawalAt(named(id), OPENAI, AFTER_ALL)).toBeUndefined();
    },
  );
});

describe("a dall-e model", () => {
  const midnight = Date.UTC(2026, 4, 12);

  it.each(DALL_E)(
    "is withdrawn on its shutdown day if OpenAI is the upstream, and never replaced: %s",
    (id) => {
      expect(withdrawalAt(named(id), OPENAI, midnight - 1)).toBeUndefined();
      expect(withdrawalAt(named(id), OPENAI, midnight)).toMatchObject({ shutdown: "2026-05-12" });
      expect(
        successorAt(named(id), { ...OPENAI, retiredModels: "replace" }, AFTER_ALL),
      ).toBeUndefined();
    },
  );

  it.each(DALL_E)(
    "is still served if another server is the upstream or RETIRED_MODELS is keep: %s",
    (id) => {
      expect(withdrawalAt(named(id), OTHER, AFTER_ALL)).toBeUndefined();
      expect(
        withdrawalAt(named(id), { ...OTHER, retiredModels: "replace" }, AFTER_ALL),
      ).toBeUndefined();
      expect(
        withdrawalAt(named(id), { ...OPENAI, retiredModels: "keep" }, AFTER_ALL),
      ).toBeUndefined();
    },
  );
});

describe("isOpenAiUrl", () => {
  it.each([
    ["https://api.openai.com/v1", true],
    ["https://API.OPENAI.COM/v1", true],
    ["https://api.openai.com./v1", true],
    ["https://eu.api.openai.com/v1", true],
    ["https://openai.com/v1", false],
    ["https://api.openai.com.evil.example/v1", false],
    ["https://notapi.openai.com/v1", false],
    ["https://xapi.openai.com/v1", false],
    ["https://me.openai.azure.com/openai/v1", false],
  ])("returns for %s: %s", (url, isExpected) => {
    expect(isOpenAiUrl(new URL(url))).toBe(isExpected);
  });
});

describe("a request for a model with a shutdown", () => {
  const onOpenAi = { UPSTREAM_BASE_URL: "https://api.openai.com/v1" };

  function parse(body: object, nowMs: number, vars: Record<string, unknown> = onOpenAi) {
    return parseImageRequest({ prompt: "a man walks", ...body }, testConfig(vars), nowMs).spec;
  }

  function upperBoundOf(spec: ImageSpec): number {
    return costOf(spec, 0, testConfig()).upperBound();
  }

  it("is sent with the default model's successor from midnight UTC on if it names no model", () => {
    expect(parse({}, DECEMBER_MS - 1)).toMatchObject({
      model: "gpt-image-1.5",
      upstreamModel: "gpt-image-1.5",
    });
    expect(parse({}, DECEMBER_MS - 1)).not.toHaveProperty("retiredModel");
    expect(parse({}, DECEMBER_MS)).toMatchObject({
      model: "gpt-image-1.5",
      upstreamModel: "gpt-image-2.6-sunburst",
      retiredModel: "gpt-image-1.5",
    });
  });

  it("is validated by the rules of the requested model, not of the successor", () => {
    const free = { model: "gpt-image-1.5", size: "2048x1152" };
    expect(failureOf(() => parse(free, DECEMBER_MS))).toMatchObject({ code: "size_not_allowed" });
    const max = { model: "gpt-image-1.5", quality: "max" };
    expect(failureOf(() => parse(max, DECEMBER_MS))).toMatchObject({ code: "invalid_value" });
  });

  it("is sent with its alias's target, even if that model is retired", () => {
    const aliased = {
      ...onOpenAi,
      MODEL_ALIASES: "gpt-image-1.5=gpt-image-2,fast=gpt-image-1-mini",
    };
    expect(parse({}, DECEMBER_MS, aliased).upstreamModel).toBe("gpt-image-2");
    expect(parse({ model: "fast" }, DECEMBER_MS, aliased).upstreamModel).toBe("gpt-image-1-mini");
    const selfAliased = { ...onOpenAi, MODEL_ALIASES: "gpt-image-1.5=gpt-image-1.5" };
    expect(parse({}, DECEMBER_MS, selfAliased).upstreamModel).toBe("gpt-image-1.5");
  });

  it("is resolved to the successor after midnight if it was stored before, and only once", () => {
    const stored = parse({}, DECEMBER_MS - 1);
    const config = testConfig(onOpenAi);
    const resolved = withSuccessor(stored, config, DECEMBER_MS);
    expect(resolved).toEqual(parse({}, DECEMBER_MS));
    expect(withSuccessor(resolved, config, DECEMBER_MS)).toEqual(resolved);
    // An alias that was removed after the request was stored still applies.
    expect(
      withSuccessor({ ...stored, upstreamModel: "gpt-image-2" }, config, DECEMBER_MS),
    ).toMatchObject({
      upstreamModel: "gpt-image-2",
    });
  });

  it("is resolved by the current configuration if it was stored under another one", () => {
    const [before, after] = [parse({}, DECEMBER_MS - 1), parse({}, DECEMBER_MS)];
    const aliased = testConfig({ ...onOpenAi, MODEL_ALIASES: "gpt-image-1.5=gpt-image-2" });
    for (const stored of [before, after]) {
      const resolved = withSuccessor(stored, aliased, DECEMBER_MS);
      expect(resolved.upstreamModel).toBe("gpt-image-2");
      expect(resolved).not.toHaveProperty("retiredModel");
    }
    const keeping = testConfig({ ...onOpenAi, RETIRED_MODELS: "keep" });
    expect(withSuccessor(after, keeping, DECEMBER_MS)).toEqual(before);
    const withoutModel = testConfig({
      ...onOpenAi,
      MODELS: "gpt-image-2",
      DEFAULT_MODEL: "gpt-image-2",
    });
    expect(withSuccessor(before, withoutModel, DECEMBER_MS)).toEqual(after);
  });

  it("is sent with the alias's target for a snapshot of an aliased model", () => {
    const snapshot = "gpt-image-1.5-2025-12-16";
    const MODEL_ALIASES = "gpt-image-1.5=gpt-image-2";
    for (const DEFAULT_MODEL of ["", snapshot]) {
      const vars = { ...onOpenAi, MODEL_ALIASES, DEFAULT_MODEL };
      expect(parse({ model: snapshot }, DECEMBER_MS, vars).upstreamModel).toBe("gpt-image-2");
      expect(parse({}, DECEMBER_MS, vars).upstreamModel).toBe("gpt-image-2");
    }
  });

  it.each([
    ["dall-e-2", "gpt-image-2.6-flare"],
    ["dall-e-3", "gpt-image-2.6-sunburst"],
  ])("is rejected for %s with the successor %s if OpenAI is the upstream", (model, successor) => {
    expect(failureOf(() => parse({ model }, DECEMBER_MS))).toEqual({
      code: "model_retired",
      model,
      shutdown: "2026-05-12",
      successor,
    });
    expect(parse({ model }, DECEMBER_MS, {}).upstreamModel).toBe(model);
  });

  it.each([
    ["gpt-image-1.5", "gpt-image-2.6-sunburst"],
    ["gpt-image-1-mini", "gpt-image-2.6-flare"],
  ])("costs for %s as much as for %s from midnight UTC on", (model, successor) => {
    const body = { size: "1024x1536", quality: "low", n: 2 };
    const cost = upperBoundOf(parse({ ...body, model }, DECEMBER_MS));
    expect(cost).toBe(upperBoundOf(parse({ ...body, model: successor }, DECEMBER_MS)));
    expect(cost).not.toBe(upperBoundOf(parse({ ...body, model }, DECEMBER_MS - 1)));
  });

  it("fits the default daily budget after midnight with ten images", () => {
    const { budgetPerDay } = testConfig({ BUDGET_USD_PER_DAY: "" });
    for (const { id, midnight } of RETIRED_GPT_IMAGE) {
      const upperBound = upperBoundOf(parse({ model: id, n: 10 }, midnight));
      expect(upperBound).toBeLessThanOrEqual(budgetPerDay);
    }
  });
});
