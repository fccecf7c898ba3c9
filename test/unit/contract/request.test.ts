import { describe, expect, it } from "vitest";
import { parseImageRequest, type ImageRequest } from "../../../src/contract/request.ts";
import { testConfig } from "../../support/unit-config.ts";
import { failureOf, IGU, IRE, wireOf } from "../../support/failures.ts";

function parse(body: unknown, vars: Record<string, unknown> = {}): ImageRequest {
  return parseImageRequest(body, testConfig(vars), Date.now());
}

function wireErrorOf(body: unknown, vars: Record<string, unknown> = {}) {
  return wireOf(failureOf(() => parse(body, vars)));
}

function badRequest(type: string, param: string | null, code: string) {
  return { status: 400, type, param, code };
}

describe("the defaults of parseImageRequest", () => {
  it("are the documented ones for a GPT image model", () => {
    expect(parse({ prompt: "a" })).toMatchObject({
      spec: {
        model: "gpt-image-1.5",
        upstreamModel: "gpt-image-1.5",
        prompt: "a",
        n: 1,
        size: "auto",
        quality: "auto",
        style: undefined,
        options: {
          background: "auto",
          output_format: "png",
          output_compression: 100,
          moderation: "auto",
        },
      },
      upstream: { stream: false, partialImages: 0, user: undefined, safetyIdentifier: undefined },
      delivery: { format: "b64_json", stream: false, asImage: false },
    });
  });

  it("are the documented ones for dall-e-3", () => {
    expect(parse({ prompt: "a", model: "dall-e-3" })).toMatchObject({
      spec: {
        n: 1,
        size: "1024x1024",
        quality: "standard",
        style: "vivid",
        options: undefined,
      },
      delivery: { format: "url" },
    });
  });

  it("are the documented ones for dall-e-2", () => {
    expect(parse({ prompt: "a", model: "dall-e-2" })).toMatchObject({
      spec: { size: "1024x1024", quality: "standard", style: undefined, options: undefined },
      delivery: { format: "url" },
    });
  });

  it.each([
    "model",
    "n",
    "size",
    "quality",
    "background",
    "output_format",
    "output_compression",
    "moderation",
    "stream",
    "partial_images",
    "response_format",
    "user",
    "safety_identifier",
    "style",
    "complexity",
    "frame_count",
    "frame_duration_ms",
    "svg",
    "variant",
  ])("apply if %s is null", (name) => {
    expect(parse({ prompt: "a", [name]: null })).toEqual(parse({ prompt: "a" }));
  });

  it("use the configured DEFAULT_MODEL", () => {
    expect(parse({ prompt: "a" }, { DEFAULT_MODEL: "gpt-image-2" }).spec.model).toBe("gpt-image-2");
  });
});

describe("the parameters of a model family", () => {
  it.each([
    ["gpt-image-1", ["auto", "low", "medium", "high"], ["xhigh", "max", "standard", "hd"]],
    ["gpt-image-2", ["auto", "low", "medium", "high"], ["xhigh", "max", "standard", "hd"]],
    ["gpt-image-2.5-flare", ["auto", "low", "medium", "high", "xhigh", "max"], ["hd"]],
    ["gpt-image-2.6-sunburst", ["auto", "low", "medium", "high", "xhigh", "max"], ["standard"]],
    ["dall-e-3", ["standard", "hd"], ["high"]],
    ["dall-e-2", ["standard"], ["hd"]],
  ])("include for %s the qualities %j and exclude %j", (model, allowed, rejected) => {
    for (const quality of allowed)
      expect(parse({ prompt: "a", model, quality }).spec.quality).toBe(quality);
    for (const quality of rejected) {
      expect(wireErrorOf({ prompt: "a", model, quality })).toEqual(
        badRequest(IRE, "quality", "invalid_value"),
      );
    }
  });

  it.each([
    ["background", "opaque"],
    ["output_format", "webp"],
    ["output_compression", 50],
    ["moderation", "low"],
    ["stream", true],
    ["partial_images", 1],
  ])("include %s for GPT image models only", (name, value) => {
    const format = name === "output_compression" ? { output_format: "webp" } : {};
    const { spec, upstream } = parse({ prompt: "a", ...format, [name]: value });
    const { stream, partialImages: partial_images } = upstream;
    expect({ ...spec.options, stream, partial_images }).toMatchObject({ [name]: value });
    for (const model of ["dall-e-2", "dall-e-3"]) {
      expect(wireErrorOf({ prompt: "a", model, [name]: value })).toEqual(
        badRequest(IRE, name, "unknown_parameter"),
      );
    }
  });

  it.each([
    ["frame_count", 8],
    ["frame_count", "9"],
    ["frame_duration_ms", 210],
    ["complexity", "low"],
    ["svg", {}],
  ])("exclude %s = %j for models older than gpt-image-2.6", (name, value) => {
    for (const model of ["gpt-image-1.5", "gpt-image-2.5-flare", "dall-e-3", "dall-e-2"]) {
      expect(wireErrorOf({ prompt: "a", model, [name]: value })).toEqual(
        badRequest(IRE, name, "unknown_parameter"),
      );
    }
  });

  it("include style for dall-e-3 only", () => {
    expect(parse({ prompt: "a", model: "dall-e-3", style: "natural" }).spec.style).toBe("natural");
    for (const model of ["dall-e-2", "gpt-image-1"]) {
      expect(wireErrorOf({ prompt: "a", model, style: "natural" })).toEqual(
        badRequest(IRE, "style", "unknown_parameter"),
      );
    }
  });

  it("include response_format for every model", () => {
    for (const model of ["gpt-image-1", "gpt-image-2", "dall-e-2", "dall-e-3"]) {
      for (const response_format of ["b64_json", "url"] as const) {
        expect(parse({ prompt: "a", model, response_format }).delivery.format).toBe(
          response_format,
        );
      }
    }
  });
});

describe("a default that the client writes out", () => {
  it.each([
    ["quality", "auto"],
    ["style", "vivid"],
    ["background", "auto"],
    ["output_format", "png"],
    ["output_compression", 100],
    ["moderation", "auto"],
    ["frame_count", 9],
    ["frame_duration_ms", 200],
    ["variant", 0],
    ["stream", false],
    ["partial_images", 0],
  ])("means absent, also for models without the parameter: %s = %j", (name, value) => {
    for (const model of ["gpt-image-1.5", "gpt-image-2.5-flare", "dall-e-3", "dall-e-2"]) {
      const body = { prompt: "a", model };
      expect(parse({ ...body, [name]: value })).toEqual(parse(body));
    }
  });
});

describe("the open rules of a model that no table knows", () => {
  const vars = { MODELS: "my-model", DEFAULT_MODEL: "my-model" };

  it.each([
    { complexity: "high", background: "opaque", moderation: "low" },
    { output_format: "webp", output_compression: 40, partial_images: 1, stream: true },
    { output_format: "gif", frame_count: 4 },
    { n: 10 },
    { quality: "Best_2-x".repeat(4) },
  ])("accept %o", (parameters) => {
    expect(() => parse({ prompt: "a", ...parameters }, vars)).not.toThrow();
  });

  it.each([
    [{ n: 11 }, "n", "integer_above_max_value"],
    [{ style: "natural" }, "style", "unknown_parameter"],
    [{ quality: "q".repeat(33) }, "quality", "invalid_value"],
    [{ quality: "" }, "quality", "invalid_value"],
    [{ quality: "höchste" }, "quality", "invalid_value"],
    [{ quality: 5 }, "quality", "invalid_type"],
    [{ output_format: "avif" }, "output_format", "invalid_value"],
  ])("reject %o", (parameters, param, code) => {
    expect(wireErrorOf({ prompt: "a", ...parameters }, vars)).toEqual(badRequest(IRE, param, code));
  });
});

describe("the size of a GIF", () => {
  const body = { prompt: "a", model: "gpt-image-2.6-flare", output_format: "gif" };

  it("may be smaller than that of a still image, because its frames are drawn as one image", () => {
    expect(() => parse({ ...body, size: "320x320", frame_count: 9 })).not.toThrow();
    expect(wireErrorOf({ ...body, size: "384x384", output_format: "png" })).toEqual(
      badRequest(IGU, "size", "invalid_value"),
    );
  });

  it("is rejected if all frames together have too few pixels", () => {
    expect(wireErrorOf({ ...body, size: "160x160", frame_count: 4 })).toEqual(
      badRequest(IGU, "size", "invalid_value"),
    );
  });
});

describe("an error that the operator can prevent", () => {
  const flare = { prompt: "a", model: "gpt-image-2.6-flare" };
  const open = { MODELS: "m", DEFAULT_MODEL: "m" };

  it.each([
    [{ ...flare, output_format: "svg" }, {}, "SVG_MODELS"],
    [{ ...flare, svg: { model: "a" } }, {}, "SVG_MODELS"],
    [{ prompt: "a", seed: 1 }, open, "EXTRA_PARAMETERS"],
    [{ prompt: "a", style: "natural" }, open, undefined],
    [{ prompt: "a", output_format: "svg" }, {}, undefined],
    [{ prompt: "a", seed: 1 }, {}, undefined],
    [{ ...flare, quality: "hd" }, {}, undefined],
  ])("names the variable: %o with %o, %s", (body, vars, variable) => {
    const failure = failureOf(() => parse(body, vars));
    expect("variable" in failure ? failure.variable : undefined).toBe(variable);
  });
});

describe("the prompt", () => {
  it.each([
    [1000, "gpt-image-1.5", {}, 32_000],
    [32_000, "gpt-image-1.5", { PROMPT_MAX_CHARS: "32000" }, undefined],
    [1000, "dall-e-3", {}, 4000],
    [4000, "dall-e-3", { PROMPT_MAX_CHARS: "32000" }, undefined],
    [1000, "dall-e-2", { PROMPT_MAX_CHARS: "32000" }, undefined],
    [10, "gpt-image-2", { PROMPT_MAX_CHARS: 10 }, 32_000],
  ])(
    "may have at most %i characters for %s with %o; the operator can raise it to %s",
    (limit, model, vars, raised) => {
      expect(parse({ prompt: "é".repeat(limit), model }, vars).spec.prompt).toHaveLength(limit);
      const failure = failureOf(() => parse({ prompt: "é".repeat(limit + 1), model }, vars));
      expect(failure).toEqual({
        code: "string_above_max_length",
        param: "prompt",
        maxChars: limit,
        chars: limit + 1,
        ...(raised === undefined
          ? {}
          : { raisable: { variable: "PROMPT_MAX_CHARS", maxChars: raised } }),
      });
    },
  );

  it("is measured in code points, so that an emoji is one character", () => {
    expect(parse({ prompt: "🦊".repeat(1000) }).spec.prompt).toBe("🦊".repeat(1000));
    expect(wireErrorOf({ prompt: "🦊".repeat(1001) }).code).toBe("string_above_max_length");
  });

  it("may be white space, which is not trimmed", () => {
    expect(parse({ prompt: " \n" }).spec.prompt).toBe(" \n");
  });

  it.each([
    [{}, "missing_required_parameter"],
    [{ prompt: null }, "invalid_type"],
    [{ prompt: 5 }, "invalid_type"],
    [{ prompt: ["a"] }, "invalid_type"],
    [{ prompt: "" }, "empty_string"],
  ])("is rejected in %j with `%s`", (body, code) => {
    expect(wireErrorOf(body)).toEqual(badRequest(IRE, "prompt", code));
  });
});

describe("an integer parameter", () => {
  it.each([
    ["n", 1, 10, {}],
    ["partial_images", 0, 3, {}],
    ["output_compression", 0, 100, { output_format: "jpeg" }],
    ["variant", 0, 9999, {}],
    ["frame_count", 2, 16, { model: "gpt-image-2.6-flare", output_format: "gif" }],
  ])("%s accepts %i to %i and rejects other numbers and types", (name, min, max, required) => {
    const body = { prompt: "a", ...required };
    expect(() => parse({ ...body, [name]: min })).not.toThrow();
    expect(() => parse({ ...body, [name]: max })).not.toThrow();
    expect(wireErrorOf({ ...body, [name]: min - 1 })).toEqual(
      badRequest(IRE, name, "integer_below_min_value"),
    );
    for (const above of [max + 1, 1e20]) {
      expect(failureOf(() => parse({ ...body, [name]: above }))).toEqual({
        code: "integer_above_max_value",
        param: name,
        max,
      });
    }
    for (const value of ["1", 1.5, true, [1], {}]) {
      expect(wireErrorOf({ ...body, [name]: value })).toEqual(
        badRequest(IRE, name, "invalid_type"),
      );
    }
  });

  it("n rejects 2 for dall-e-3", () => {
    expect(wireErrorOf({ prompt: "a", model: "dall-e-3", n: 2 })).toEqual(
      badRequest(IRE, "n", "integer_above_max_value"),
    );
  });

  it("rejects a decimal number with the expected and the received type", () => {
    expect(failureOf(() => parse({ prompt: "a", n: 1.5 }))).toMatchObject({
      expected: "an integer",
      received: "a decimal number",
    });
  });
});

describe("the value of a parameter", () => {
  it.each([
    ["quality", "best"],
    ["background", "red"],
    ["output_format", "gif"],
    ["moderation", "none"],
    ["response_format", "file"],
  ])(
    "is rejected for %s = %s as `invalid_value`, and for a number as `invalid_type`",
    (name, value) => {
      expect(wireErrorOf({ prompt: "a", [name]: value })).toEqual(
        badRequest(IRE, name, "invalid_value"),
      );
      expect(wireErrorOf({ prompt: "a", [name]: 5 })).toEqual(
        badRequest(IRE, name, "invalid_type"),
      );
    },
  );

  it.each([
    ["stream", "true"],
    ["user", 5],
    ["safety_identifier", {}],
    ["size", 1024],
    ["model", 5],
  ])("is rejected for %s = %j as `invalid_type`", (name, value) => {
    expect(wireErrorOf({ prompt: "a", [name]: value })).toEqual(
      badRequest(IRE, name, "invalid_type"),
    );
  });
});

describe("the parameters of a body", () => {
  it.each(["image", "Prompt", "", "constructor", "response-format"])(
    "are rejected with the unknown name %j",
    (name) => {
      expect(wireErrorOf({ prompt: "a", [name]: null })).toEqual(
        badRequest(IRE, name, "unknown_parameter"),
      );
    },
  );

  it("are rejected with the name __proto__", () => {
    const body: unknown = JSON.parse('{"prompt":"a","__proto__":{"n":5}}');
    expect(wireErrorOf(body)).toEqual(badRequest(IRE, "__proto__", "unknown_parameter"));
  });

  it.each([[[]], ["text"], [5], [null], [true]])(
    "are rejected if the body is %j instead of an object",
    (body) => {
      expect(wireErrorOf(body)).toEqual(badRequest(IRE, null, "invalid_json"));
    },
  );
});

describe("a combination of parameters", () => {
  it("is rejected for stream with n = 2", () => {
    expect(wireErrorOf({ prompt: "a", stream: true, n: 2 })).toEqual(
      badRequest(IGU, "n", "unsupported_parameter"),
    );
  });

  it("is rejected for output_compression below 100 unless the format is jpeg or webp", () => {
    expect(wireErrorOf({ prompt: "a", output_compression: 99 })).toEqual(
      badRequest(IGU, "output_compression", "invalid_png_output_compression"),
    );
    expect(() => parse({ prompt: "a", output_compression: 100 })).not.toThrow();
    for (const output_format of ["jpeg", "webp"]) {
      expect(() => parse({ prompt: "a", output_compression: 1, output_format })).not.toThrow();
    }
  });

  it("is rejected for a transparent background unless the format is png or webp", () => {
    const body = { prompt: "a", background: "transparent" };
    expect(wireErrorOf({ ...body, output_format: "jpeg" })).toEqual(
      badRequest(IGU, "background", "invalid_value"),
    );
    for (const output_format of ["png", "webp"]) {
      expect(() => parse({ ...body, output_format })).not.toThrow();
    }
  });

  it("is rejected for a size that the model does not support", () => {
    expect(wireErrorOf({ prompt: "a", size: "256x256" })).toEqual(
      badRequest(IGU, "size", "invalid_value"),
    );
  });
});

describe("the order of checks", () => {
  const invalid = {
    model: "nothing",
    unknown: 1,
    prompt: "",
    n: 0,
    quality: "best",
    size: "1x1",
  };
  const steps = [
    ["model", undefined],
    ["unknown", undefined],
    ["prompt", "a"],
    ["n", 1],
    ["quality", "low"],
    ["size", "auto"],
  ] as const;

  it("is model, unknown names, prompt, n, other values, size", () => {
    const body: Record<string, unknown> = { ...invalid };
    for (const [param, valid] of steps) {
      expect(wireErrorOf(body).param).toBe(param);
      if (valid === undefined) delete body[param];
      else body[param] = valid;
    }
    expect(() => parse(body)).not.toThrow();
  });

  it("reports a parameter of another model before an empty prompt", () => {
    expect(wireErrorOf({ prompt: "", style: "natural" }).param).toBe("style");
  });

  it("reports an invalid combination before an invalid size", () => {
    expect(wireErrorOf({ prompt: "a", output_compression: 5, size: "1x1" }).param).toBe(
      "output_compression",
    );
  });
});

describe("the model of a request", () => {
  it("must be one of MODELS", () => {
    const vars = { MODELS: "gpt-image-2, gpt-image-3", DEFAULT_MODEL: "gpt-image-2" };
    expect(parse({ prompt: "a" }, vars).spec.model).toBe("gpt-image-2");
    expect(wireErrorOf({ prompt: "a", model: "dall-e-2" }, vars)).toEqual(
      badRequest(IGU, "model", "invalid_value"),
    );
  });

  it("is validated by the newest rules if it is unknown", () => {
    const vars = { MODELS: "gpt-image-3,gpt-image-1.5" };
    const body = { prompt: "a", model: "gpt-image-3", quality: "max", size: "2048x1152" };
    expect(parse(body, vars).spec).toMatchObject({ quality: "max", size: "2048x1152" });
  });

  it("may be a dated snapshot of a served model only", () => {
    const model = "gpt-image-1.5-2025-12-16";
    expect(parse({ prompt: "a", model }).spec).toMatchObject({ model, upstreamModel: model });
    expect(wireErrorOf({ prompt: "a", model: "gpt-image-9-2025-12-16" }).param).toBe("model");
  });

  it("is replaced upstream by its alias's target, also as the default and as a dated snapshot", () => {
    const vars = { MODEL_ALIASES: "gpt-image-1.5=gpt-image-2, fast=gpt-image-2.6-flare" };
    expect(parse({ prompt: "a" }, vars).spec.upstreamModel).toBe("gpt-image-2");
    expect(parse({ prompt: "a", model: "fast", quality: "max" }, vars).spec.upstreamModel).toBe(
      "gpt-image-2.6-flare",
    );
    expect(parse({ prompt: "a", model: "gpt-image-1.5-2025-12-16" }, vars).spec.upstreamModel).toBe(
      "gpt-image-2",
    );
  });

  it("keeps its own rules if its alias leads to an unknown model", () => {
    const vars = { MODEL_ALIASES: "dall-e-3=my-deployment" };
    const { spec } = parse({ prompt: "a", model: "dall-e-3", style: "natural" }, vars);
    expect(spec).toMatchObject({ upstreamModel: "my-deployment", style: "natural" });
  });
});

describe("REQUIRE_DOCUMENTED_FIELDS", () => {
  const vars = { REQUIRE_DOCUMENTED_FIELDS: "true" };

  it.each(["n", "size"])("requires %s if it is true, and not by default", (name) => {
    const body: Record<string, unknown> = { prompt: "a", n: 1, size: "auto" };
    expect(() => parse(body, vars)).not.toThrow();
    delete body[name];
    expect(() => parse(body)).not.toThrow();
    expect(wireErrorOf(body, vars)).toEqual(badRequest(IRE, name, "missing_required_parameter"));
  });
});
