import { describe, expect, it } from "vitest";
import { parseImageRequest, type ImageRequest } from "../../../src/contract/request.ts";
import { testConfig } from "../../support/unit-config.ts";
import { failureOf, IGU, IRE, wireOf } from "../../support/failures.ts";

function parse(body: unknown, vars: Record<string, unknown> = {}): ImageRequest {
  return parseImageRequest(body, testConfig(vars), Date.now());
}

function refusal(body: unknown, vars: Record<string, unknown> = {}) {
  return wireOf(failureOf(() => parse(body, vars)));
}

function refused(type: string, param: string | null, code: string) {
  return { status: 400, type, param, code };
}

describe("defaults", () => {
  it("are the contract's for a GPT image model", () => {
    expect(parse({ prompt: "a" })).toMatchObject({
      model: "gpt-image-1.5",
      upstreamModel: "gpt-image-1.5",
      prompt: "a",
      n: 1,
      size: "auto",
      quality: "auto",
      style: undefined,
      response_format: "b64_json",
      options: {
        background: "auto",
        output_format: "png",
        output_compression: 100,
        moderation: "auto",
        stream: false,
        partial_images: 0,
      },
    });
  });

  it("are the contract's for dall-e-3", () => {
    expect(parse({ prompt: "a", model: "dall-e-3" })).toMatchObject({
      n: 1,
      size: "1024x1024",
      quality: "standard",
      style: "vivid",
      response_format: "url",
      options: undefined,
    });
  });

  it("are the contract's for dall-e-2", () => {
    expect(parse({ prompt: "a", model: "dall-e-2" })).toMatchObject({
      size: "1024x1024",
      quality: "standard",
      style: undefined,
      response_format: "url",
      options: undefined,
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
  ])("hold where %s is null", (name) => {
    expect(parse({ prompt: "a", [name]: null })).toEqual(parse({ prompt: "a" }));
  });

  it("come with another model when it is configured", () => {
    expect(parse({ prompt: "a" }, { DEFAULT_MODEL: "gpt-image-2" }).model).toBe("gpt-image-2");
  });
});

describe("what each family takes", () => {
  it.each([
    ["gpt-image-1", ["auto", "low", "medium", "high"], ["xhigh", "max", "standard", "hd"]],
    ["gpt-image-2", ["auto", "low", "medium", "high"], ["xhigh", "max", "standard", "hd"]],
    ["gpt-image-2.5-flare", ["auto", "low", "medium", "high", "xhigh", "max"], ["hd"]],
    ["gpt-image-2.6-sunburst", ["auto", "low", "medium", "high", "xhigh", "max"], ["standard"]],
    ["dall-e-3", ["standard", "hd"], ["auto", "high"]],
    ["dall-e-2", ["standard"], ["hd", "auto"]],
  ])("%s: quality", (model, allowed, others) => {
    for (const quality of allowed)
      expect(parse({ prompt: "a", model, quality }).quality).toBe(quality);
    for (const quality of others) {
      expect(refusal({ prompt: "a", model, quality })).toEqual(
        refused(IRE, "quality", "invalid_value"),
      );
    }
  });

  it.each([
    ["background", "opaque"],
    ["output_format", "webp"],
    ["output_compression", 50],
    ["moderation", "low"],
    ["stream", false],
    ["partial_images", 1],
  ])("%s is for GPT image models only", (name, value) => {
    const format = name === "output_compression" ? { output_format: "webp" } : {};
    expect(parse({ prompt: "a", ...format, [name]: value }).options).toMatchObject({
      [name]: value,
    });
    for (const model of ["dall-e-2", "dall-e-3"]) {
      expect(refusal({ prompt: "a", model, [name]: value })).toEqual(
        refused(IRE, name, "unknown_parameter"),
      );
    }
  });

  it("style is for dall-e-3 only", () => {
    expect(parse({ prompt: "a", model: "dall-e-3", style: "natural" }).style).toBe("natural");
    for (const model of ["dall-e-2", "gpt-image-1"]) {
      expect(refusal({ prompt: "a", model, style: "natural" })).toEqual(
        refused(IRE, "style", "unknown_parameter"),
      );
    }
  });

  it("response_format is for every model", () => {
    for (const model of ["gpt-image-1", "gpt-image-2", "dall-e-2", "dall-e-3"]) {
      for (const response_format of ["b64_json", "url"] as const) {
        expect(parse({ prompt: "a", model, response_format }).response_format).toBe(
          response_format,
        );
      }
    }
  });
});

describe("the prompt", () => {
  it.each([
    [1000, "gpt-image-1.5", {}],
    [32_000, "gpt-image-1.5", { PROMPT_MAX_CHARS: "32000" }],
    [4000, "dall-e-3", { PROMPT_MAX_CHARS: "32000" }],
    [1000, "dall-e-2", { PROMPT_MAX_CHARS: "32000" }],
    [10, "gpt-image-2", { PROMPT_MAX_CHARS: 10 }],
  ])("may have %i characters with %s and %o", (limit, model, vars) => {
    expect(parse({ prompt: "é".repeat(limit), model }, vars).prompt).toHaveLength(limit);
    const failure = failureOf(() => parse({ prompt: "é".repeat(limit + 1), model }, vars));
    expect(failure).toEqual({
      code: "string_above_max_length",
      param: "prompt",
      maxChars: limit,
      chars: limit + 1,
    });
  });

  it("is counted in code points, so that an emoji is one character", () => {
    expect(parse({ prompt: "🦊".repeat(1000) }).prompt).toBe("🦊".repeat(1000));
    expect(refusal({ prompt: "🦊".repeat(1001) }).code).toBe("string_above_max_length");
  });

  it("may be white space, and is kept as it is", () => {
    expect(parse({ prompt: " \n" }).prompt).toBe(" \n");
  });

  it.each([
    [{}, "missing_required_parameter"],
    [{ prompt: null }, "invalid_type"],
    [{ prompt: 5 }, "invalid_type"],
    [{ prompt: ["a"] }, "invalid_type"],
    [{ prompt: "" }, "empty_string"],
  ])("is refused in %j", (body, code) => {
    expect(refusal(body)).toEqual(refused(IRE, "prompt", code));
  });
});

describe("numbers", () => {
  it.each([
    ["n", 1, 10],
    ["partial_images", 0, 3],
    ["output_compression", 0, 100],
  ])("%s runs from %i to %i", (name, min, max) => {
    const body = { prompt: "a", output_format: "jpeg" };
    expect(() => parse({ ...body, [name]: min })).not.toThrow();
    expect(() => parse({ ...body, [name]: max })).not.toThrow();
    expect(refusal({ ...body, [name]: min - 1 })).toEqual(
      refused(IRE, name, "integer_below_min_value"),
    );
    for (const above of [max + 1, 1e20]) {
      expect(failureOf(() => parse({ ...body, [name]: above }))).toEqual({
        code: "integer_above_max_value",
        param: name,
        max,
      });
    }
    for (const value of ["1", 1.5, true, [1], {}]) {
      expect(refusal({ ...body, [name]: value })).toEqual(refused(IRE, name, "invalid_type"));
    }
  });

  it("dall-e-3 makes one picture at a time", () => {
    expect(refusal({ prompt: "a", model: "dall-e-3", n: 2 })).toEqual(
      refused(IRE, "n", "integer_above_max_value"),
    );
  });

  it("says what it got instead of an integer", () => {
    expect(failureOf(() => parse({ prompt: "a", n: 1.5 }))).toMatchObject({
      expected: "an integer",
      received: "a decimal number",
    });
  });
});

describe("values", () => {
  it.each([
    ["quality", "best"],
    ["background", "red"],
    ["output_format", "gif"],
    ["moderation", "none"],
    ["response_format", "file"],
  ])("%s: %s is not among them", (name, value) => {
    expect(refusal({ prompt: "a", [name]: value })).toEqual(refused(IRE, name, "invalid_value"));
    expect(refusal({ prompt: "a", [name]: 5 })).toEqual(refused(IRE, name, "invalid_type"));
  });

  it.each([
    ["stream", "true"],
    ["user", 5],
    ["safety_identifier", {}],
    ["size", 1024],
    ["model", 5],
  ])("%s: %j has the wrong type", (name, value) => {
    expect(refusal({ prompt: "a", [name]: value })).toEqual(refused(IRE, name, "invalid_type"));
  });
});

describe("names", () => {
  it.each(["image", "Prompt", "", "constructor", "response-format"])("%j is unknown", (name) => {
    expect(refusal({ prompt: "a", [name]: null })).toEqual(refused(IRE, name, "unknown_parameter"));
  });

  it("__proto__ is unknown, and changes nothing", () => {
    const body: unknown = JSON.parse('{"prompt":"a","__proto__":{"n":5}}');
    expect(refusal(body)).toEqual(refused(IRE, "__proto__", "unknown_parameter"));
  });

  it.each([[[]], ["text"], [5], [null], [true]])("a body that is %j is no object", (body) => {
    expect(refusal(body)).toEqual(refused(IRE, null, "invalid_json"));
  });
});

describe("combinations", () => {
  it("stream needs n = 1", () => {
    expect(refusal({ prompt: "a", stream: true, n: 2 })).toEqual(
      refused(IGU, "n", "unsupported_parameter"),
    );
  });

  it("compression needs a format that compresses", () => {
    expect(refusal({ prompt: "a", output_compression: 99 })).toEqual(
      refused(IGU, "output_compression", "invalid_png_output_compression"),
    );
    expect(() => parse({ prompt: "a", output_compression: 100 })).not.toThrow();
    for (const output_format of ["jpeg", "webp"]) {
      expect(() => parse({ prompt: "a", output_compression: 1, output_format })).not.toThrow();
    }
  });

  it("transparency needs a format with an alpha channel", () => {
    const body = { prompt: "a", background: "transparent" };
    expect(refusal({ ...body, output_format: "jpeg" })).toEqual(
      refused(IGU, "background", "invalid_value"),
    );
    for (const output_format of ["png", "webp"]) {
      expect(() => parse({ ...body, output_format })).not.toThrow();
    }
  });

  it("a size that the model does not have is refused with the reason", () => {
    expect(refusal({ prompt: "a", size: "256x256" })).toEqual(
      refused(IGU, "size", "invalid_value"),
    );
  });
});

describe("the order of checks", () => {
  const worst = {
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

  it("is model, unknown names, prompt, n, the rest, size", () => {
    const body: Record<string, unknown> = { ...worst };
    for (const [param, good] of steps) {
      expect(refusal(body).param).toBe(param);
      if (good === undefined) delete body[param];
      else body[param] = good;
    }
    expect(() => parse(body)).not.toThrow();
  });

  it("puts a parameter of another model among the unknown names", () => {
    expect(refusal({ prompt: "", style: "vivid" }).param).toBe("style");
  });

  it("puts what ties two parameters together before the size", () => {
    expect(refusal({ prompt: "a", output_compression: 5, size: "1x1" }).param).toBe(
      "output_compression",
    );
  });
});

describe("models", () => {
  it("are those of MODELS only", () => {
    const vars = { MODELS: "gpt-image-2, gpt-image-3", DEFAULT_MODEL: "gpt-image-2" };
    expect(parse({ prompt: "a" }, vars).model).toBe("gpt-image-2");
    expect(refusal({ prompt: "a", model: "dall-e-2" }, vars)).toEqual(
      refused(IGU, "model", "invalid_value"),
    );
  });

  it("that nobody knows get the newest rules", () => {
    const vars = { MODELS: "gpt-image-3,gpt-image-1.5" };
    const body = { prompt: "a", model: "gpt-image-3", quality: "max", size: "2048x1152" };
    expect(parse(body, vars)).toMatchObject({ quality: "max", size: "2048x1152" });
  });

  it("include dated snapshots of what is served", () => {
    const model = "gpt-image-1.5-2025-12-16";
    expect(parse({ prompt: "a", model })).toMatchObject({ model, upstreamModel: model });
    expect(refusal({ prompt: "a", model: "gpt-image-9-2025-12-16" }).param).toBe("model");
  });

  it("go by another name upstream where there is an alias", () => {
    const vars = { MODEL_ALIASES: "gpt-image-1.5=gpt-image-2, fast=gpt-image-2.6-flare" };
    expect(parse({ prompt: "a" }, vars).upstreamModel).toBe("gpt-image-2");
    expect(parse({ prompt: "a", model: "fast", quality: "max" }, vars).upstreamModel).toBe(
      "gpt-image-2.6-flare",
    );
    expect(parse({ prompt: "a", model: "gpt-image-1.5-2025-12-16" }, vars).upstreamModel).toBe(
      "gpt-image-2",
    );
  });

  it("keep their own rules where the alias leads to a name that nobody knows", () => {
    const vars = { MODEL_ALIASES: "dall-e-3=my-deployment" };
    const request = parse({ prompt: "a", model: "dall-e-3", style: "natural" }, vars);
    expect(request).toMatchObject({ upstreamModel: "my-deployment", style: "natural" });
  });
});

describe("the reference document's required fields", () => {
  const vars = { REQUIRE_DOCUMENTED_FIELDS: "true" };

  it.each(["n", "size"])("%s may be absent by default, and not when enforced", (name) => {
    const body: Record<string, unknown> = { prompt: "a", n: 1, size: "auto" };
    expect(() => parse(body, vars)).not.toThrow();
    delete body[name];
    expect(() => parse(body)).not.toThrow();
    expect(refusal(body, vars)).toEqual(refused(IRE, name, "missing_required_parameter"));
  });
});
