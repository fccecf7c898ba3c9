import { describe, expect, it } from "vitest";
import { bodyOfText } from "../../../src/contract/text-parameters.ts";

describe("bodyOfText", () => {
  it("converts the numbers and booleans of the API, and leaves every other text", () => {
    expect(
      bodyOfText({ prompt: "7", n: "2", variant: "3", frame_count: "4", stream: "false" }, []),
    ).toEqual({ prompt: "7", n: 2, variant: 3, frame_count: 4, stream: false });
    expect(
      bodyOfText({ n: "2.0", variant: "-1", frame_count: "04", stream: "yes", size: "" }, []),
    ).toEqual({
      n: "2.0",
      variant: -1,
      frame_count: "04",
      stream: "yes",
      size: "",
    });
  });

  it("converts extra parameters that are spelled as JSON's numbers and booleans", () => {
    const parameters = {
      seed: "7",
      scale: "-1.5e1",
      hires: "true",
      text: "null",
      list: "[1]",
      other: "7",
    };
    expect(bodyOfText(parameters, ["seed", "scale", "hires", "text", "list"])).toEqual({
      seed: 7,
      scale: -15,
      hires: true,
      text: "null",
      list: "[1]",
      other: "7",
    });
  });

  it("nests the parameters of `svg`, as the SDKs write them in forms", () => {
    const parameters = { "svg[model]": "m", "svg[reasoning][effort]": "low" };
    expect(bodyOfText(parameters, [])).toEqual({
      svg: { model: "m", reasoning: { effort: "low" } },
    });
    expect(bodyOfText({ "svg[model]": "m" }, [])).toMatchObject({ svg: { model: "m" } });
  });

  it("leaves no parameter out, so that each one is checked", () => {
    expect(bodyOfText({ svg: "x", "svg[model]": "m" }, [])).toEqual({ svg: "x" });
    const parameters = Object.fromEntries([["__proto__", "1"]]);
    expect(Object.entries(bodyOfText(parameters, []))).toEqual([["__proto__", "1"]]);
  });
});
