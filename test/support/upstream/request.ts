import type { IncomingMessage } from "node:http";
import { numberOf, type Directives } from "./directives.ts";
import { isImageType, type ImageType } from "./paint.ts";
import type { Profile } from "./profiles.ts";
import type { Size } from "./tokens.ts";

/** The JSON body of a request for images. */
export type RequestBody = Record<string, unknown>;

/** A request that the simulator received. */
export interface ReceivedRequest {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
  body: RequestBody;
}

/** A request for images, and the state of its response. */
export interface UpstreamCall {
  body: RequestBody;
  /** The directives of the prompt, empty if `times` excludes this call. */
  directives: Directives;
  /** Milliseconds since the epoch. */
  startedMs: number;
  /** The time at which the response was sent or cut; `undefined` until then. */
  endedMs: number | undefined;
  /** The status of the response; `undefined` if the connection was cut before it. */
  status: number | undefined;
  /** True once every byte of the response was written. */
  isWhole: boolean;
  /** The SHA-256 of each image that was generated for it, in the order of the response. */
  images: string[];
  /** The tokens of these images. */
  tokens: { input: number; output: number };
}

/** The parameters of a request for images, with defaults. */
export interface ImageRequest extends Size {
  body: RequestBody;
  model: string;
  prompt: string;
  n: number;
  quality: string;
  background: string;
  /** The `output_format`. The directive `type` may request other bytes. */
  format: ImageType;
  compression: number;
  /** The number of frames of a GIF. */
  frames: number;
  /** The duration of each frame, in milliseconds. */
  frameMs: number;
  /** A number that changes the image; `undefined` if the request has none. */
  seed: unknown;
  /** The model that writes an SVG document, if the request names one. */
  svgModel: string | undefined;
  /** The end user: `safety_identifier`, otherwise `user`; `undefined` if both are empty. */
  identifier: string | undefined;
  dialect: string;
  stream: boolean;
  partialImages: number;
  /** The server that the simulator plays; `undefined` for OpenAI. */
  profile: Profile | undefined;
  directives: Directives;
  call: UpstreamCall;
}

/** Returns the parameters of a body, with the defaults of OpenAI or of a profile. */
export function parseRequest(call: UpstreamCall, profile: Profile | undefined): ImageRequest {
  const { body, directives } = call;
  const model = String(body["model"]);
  const isDallE = model.startsWith("dall-e");
  const preset = isDallE && body["response_format"] !== "b64_json" ? "url" : "b64";
  const format = body["output_format"];
  return {
    body,
    model,
    prompt: String(body["prompt"]),
    n: numberOf(directives, "images", Number(body["n"] ?? 1)),
    ...(sizeIn(body["size"]) ?? profile?.defaultSize(body) ?? { width: 1024, height: 1024 }),
    quality: resolvedQuality(body["quality"]),
    background: body["background"] === "transparent" ? "transparent" : "opaque",
    format: profile?.format(body) ?? (isImageType(format) ? format : "png"),
    compression: Number(body["output_compression"] ?? 100),
    frames: Number(body["frame_count"] ?? 9),
    frameMs: Number(body["frame_duration_ms"] ?? 200),
    seed: body["seed"],
    svgModel: svgModelIn(body["svg"]),
    identifier: nonEmpty(body["safety_identifier"]) ?? nonEmpty(body["user"]),
    dialect: directives.get("dialect") ?? profile?.dialect(body) ?? preset,
    stream: profile === undefined && body["stream"] === true,
    partialImages: Number(body["partial_images"] ?? 0),
    profile,
    directives,
    call,
  };
}

function sizeIn(size: unknown): Size | undefined {
  const [, width, height] = /^(\d+)x(\d+)$/.exec(String(size)) ?? [];
  return width === undefined ? undefined : { width: Number(width), height: Number(height) };
}

function resolvedQuality(quality: unknown): string {
  return typeof quality === "string" && quality !== "auto" ? quality : "high";
}

function svgModelIn(svg: unknown): string | undefined {
  if (typeof svg !== "object" || svg === null || !("model" in svg)) return undefined;
  return nonEmpty(svg.model);
}

function nonEmpty(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
