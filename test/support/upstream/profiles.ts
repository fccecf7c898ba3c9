import type { ErrorResponse } from "./errors.ts";
import { isImageType, type ImageType } from "./paint.ts";
import type { RequestBody } from "./request.ts";
import type { Size } from "./tokens.ts";
import { NO_USAGE } from "./usage.ts";

export type ProfileName = "localai" | "xai" | "sglang" | "vllm-omni";

/** The contract of a public server: the requests that it rejects, and the form of its responses. */
export interface Profile {
  /** The only model that it serves. A request without a model is for this one. */
  model: string;
  /** Returns the error response to a body that the server rejects. */
  errorFor: (body: RequestBody) => ErrorResponse | undefined;
  /** Returns the size of the image for a body without a valid `size`. */
  defaultSize: (body: RequestBody) => Size;
  /** Returns the type of the images. */
  format: (body: RequestBody) => ImageType;
  /** Returns the field of the response that has an image: `b64_json` or `url`. */
  dialect: (body: RequestBody) => "b64" | "url";
  /** Returns the JSON body of a response with status 200. */
  responseBody: (response: PaintedResponse) => object;
}

/** The parts of a response. */
interface PaintedResponse {
  /** Seconds since the epoch. */
  created: number;
  data: ({ url: string } | { b64_json: string })[];
  prompt: string;
}

/** The profiles by name. */
export const PROFILES: Record<ProfileName, Profile> = {
  localai: localAi(),
  xai: xAi(),
  sglang: sgLang(),
  "vllm-omni": vllmOmni(),
};

/** LocalAI with Stable Diffusion. It ignores unknown fields. */
function localAi(): Profile {
  const model = "stablediffusion";
  const error = (status: number, message: string) => ({
    status,
    body: { error: { code: status, message, type: "" } },
  });
  return {
    model,
    errorFor(body) {
      if (isOtherModel(body, model))
        return error(404, `model "${String(body["model"])}" not found`);
      if (isInvalidSize(body)) return error(500, "invalid value for 'size'");
      return undefined;
    },
    defaultSize: () => ({ width: 512, height: 512 }),
    format: () => "png",
    dialect: urlUnlessBase64,
    responseBody: ({ created, data }) => ({
      created,
      id: crypto.randomUUID(),
      data,
      usage: NO_USAGE,
    }),
  };
}

/** xAI. It rejects every parameter that it does not have, such as `size`. */
function xAi(): Profile {
  const model = "grok-imagine-image";
  const parameters = new Set([
    "model",
    "prompt",
    "n",
    "response_format",
    "aspect_ratio",
    "resolution",
    "user",
  ]);
  return {
    model,
    errorFor(body) {
      if (isOtherModel(body, model)) {
        const error = `The model ${String(body["model"])} does not exist or your team does not have access to it.`;
        return { status: 404, body: { code: "not-found", error } };
      }
      const unknown = Object.keys(body).find((name) => !parameters.has(name));
      if (unknown === undefined) return undefined;
      const error = `Argument not supported: ${unknown}`;
      return { status: 400, body: { code: "invalid-argument", error } };
    },
    defaultSize(body) {
      const [, across = 1, down = 1] = /^(\d+):(\d+)$/.exec(String(body["aspect_ratio"])) ?? [];
      const ratio = Number(across) / Number(down);
      const long = body["resolution"] === "2k" ? 2048 : 1024;
      return {
        width: Math.round(long * Math.min(1, ratio)),
        height: Math.round(long / Math.max(1, ratio)),
      };
    },
    format: () => "jpeg",
    dialect: urlUnlessBase64,
    responseBody: ({ data }) => ({
      data: data.map((item) => ({ ...item, mime_type: "image/jpeg", revised_prompt: "" })),
      // USD 0.02 per image. A tick is a ten-billionth of a US dollar.
      usage: { cost_in_usd_ticks: 200_000_000 * data.length },
    }),
  };
}

/** SGLang with a diffusion model. It returns base64 only, and JPEG unless the request names another type. */
function sgLang(): Profile {
  const model = "Qwen/Qwen-Image";
  const error = (status: number, detail: string) => ({ status, body: { detail } });
  return {
    model,
    errorFor(body) {
      if (isOtherModel(body, model)) return error(404, `Model ${String(body["model"])} not found`);
      if (body["response_format"] !== "b64_json") {
        return error(400, "response_format must be b64_json");
      }
      if (isInvalidSize(body)) return error(400, "size must be WIDTHxHEIGHT");
      return undefined;
    },
    defaultSize: () => ({ width: 1024, height: 1024 }),
    format({ output_format: format }) {
      return isImageType(format) ? format : "jpeg";
    },
    dialect: () => "b64",
    responseBody: ({ created, data, prompt }) => ({
      id: crypto.randomUUID(),
      created,
      data: data.map((item) => ({ url: null, ...item, revised_prompt: prompt })),
    }),
  };
}

/** vLLM-Omni, whose schema is a Pydantic model that forbids unknown fields. */
function vllmOmni(): Profile {
  const model = "Tongyi-MAI/Z-Image-Turbo";
  const fields = new Set([
    "model",
    "prompt",
    "n",
    "size",
    "response_format",
    "user",
    "seed",
    "num_inference_steps",
    "guidance_scale",
    "negative_prompt",
  ]);
  return {
    model,
    errorFor(body) {
      if (isOtherModel(body, model)) {
        const message = `The model \`${String(body["model"])}\` does not exist.`;
        const error = { message, type: "NotFoundError", param: "model", code: 404 };
        return { status: 404, body: { error } };
      }
      const detail = [
        ...countIssues(body["n"]),
        ...sizeIssues(body["size"]),
        ...responseFormatIssues(body["response_format"]),
        ...Object.entries(body)
          .filter(([name]) => !fields.has(name))
          .map(([name, input]) =>
            issue("extra_forbidden", name, "Extra inputs are not permitted", input),
          ),
      ];
      return detail.length === 0 ? undefined : { status: 422, body: { detail } };
    },
    defaultSize: () => ({ width: 1024, height: 1024 }),
    format: () => "png",
    dialect: () => "b64",
    responseBody: ({ created, data }) => ({ created, data }),
  };
}

/** Returns an item of Pydantic's list of errors. */
function issue(type: string, field: string, msg: string, input: unknown) {
  return { type, loc: ["body", field], msg, input };
}

function countIssues(n: unknown) {
  if (n === undefined) return [];
  if (!Number.isInteger(n)) {
    return [issue("int_type", "n", "Input should be a valid integer", n)];
  }
  if (Number(n) < 1) {
    return [issue("greater_than_equal", "n", "Input should be greater than or equal to 1", n)];
  }
  if (Number(n) > 10) {
    return [issue("less_than_equal", "n", "Input should be less than or equal to 10", n)];
  }
  return [];
}

function sizeIssues(size: unknown) {
  if (isAbsent(size) || isSize(size)) return [];
  if (typeof size !== "string") {
    return [issue("string_type", "size", "Input should be a valid string", size)];
  }
  const message = `Invalid size format: '${size}'. Expected 'WIDTHxHEIGHT'`;
  return [issue("value_error", "size", message, size)];
}

function responseFormatIssues(format: unknown) {
  if (format === undefined || format === "b64_json") return [];
  return [issue("enum", "response_format", "Input should be 'b64_json'", format)];
}

function isOtherModel(body: RequestBody, model: string): boolean {
  return body["model"] !== undefined && body["model"] !== model;
}

function isInvalidSize({ size }: RequestBody): boolean {
  return !isAbsent(size) && !isSize(size);
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

function isSize(value: unknown): boolean {
  return typeof value === "string" && /^\d+x\d+$/.test(value);
}

function urlUnlessBase64(body: RequestBody): "b64" | "url" {
  return body["response_format"] === "b64_json" ? "b64" : "url";
}
