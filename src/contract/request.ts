import type * as z from "zod";
import { GatewayError, type Failure } from "../errors/failure.ts";
import type { ImageType } from "../lib/image-type.ts";
import { servedModel, type Catalog, type ServedModel } from "./catalog.ts";
import { failureOfIssues, invalidType } from "./issues.ts";
import {
  ALPHA_FORMATS,
  type BACKGROUNDS,
  LOSSY_FORMATS,
  type MODERATIONS,
  sizeProblem,
  type ModelRules,
  type ResponseFormat,
} from "./models.ts";
import { jsonObject } from "./parse.ts";
import {
  PARAMETERS,
  schemaFor,
  withoutNulls,
  type BodySchema,
  type RequestLimits,
} from "./request-body.ts";
import { successorAt, withdrawalAt, type RetirementPolicy } from "./retirement.ts";

/** A valid request with every default in place, split by what each part decides. */
export interface ImageRequest {
  readonly spec: ImageSpec;
  readonly upstream: UpstreamOptions;
  readonly delivery: Delivery;
}

/** The images to generate, in the API's own names. It decides the cache key. */
export interface ImageSpec {
  /** The model that the client requests. */
  readonly model: string;
  /** The model that the upstream is sent: the same, its alias, or a retired model's successor. */
  readonly upstreamModel: string;
  /** The model that `upstreamModel` replaces because OpenAI has shut it down; absent if none. */
  readonly retiredModel?: string;
  readonly prompt: string;
  readonly n: number;
  readonly size: string;
  readonly quality: string;
  /** dall-e-3 only. */
  readonly style: string | undefined;
  /** GPT image models only; `undefined` for the others. */
  readonly options: ImageOptions | undefined;
}

/** The parameters that only GPT image models accept and that change the image. */
export interface ImageOptions {
  readonly background: (typeof BACKGROUNDS)[number];
  readonly output_format: ImageType;
  /** 0..100. */
  readonly output_compression: number;
  readonly moderation: (typeof MODERATIONS)[number];
}

/** Parameters for the upstream that do not change the image. */
export interface UpstreamOptions {
  readonly stream: boolean;
  /** 0..3. */
  readonly partialImages: number;
  readonly user: string | undefined;
  readonly safetyIdentifier: string | undefined;
}

/** How the client receives the images. */
export interface Delivery {
  /** How JSON and events contain the images. */
  readonly format: ResponseFormat;
  /** True if the client receives server-sent events. */
  readonly stream: boolean;
  /** The image type that the client prefers to JSON; `undefined` if the response is JSON or a stream. */
  readonly accept: ImageType | undefined;
}

/**
 * Returns the format in which the images are read: as bytes if the response is an image, otherwise as the
 * client requests.
 */
export function imageFormat<Format extends ResponseFormat | undefined>({
  format,
  accept,
}: {
  format: Format;
  accept: ImageType | undefined;
}): Format | "b64_json" {
  return accept === undefined ? format : "b64_json";
}

/** The parts of the configuration that decide whether a request is valid. */
export interface RequestRules extends RequestLimits {
  models: Catalog;
  defaultModel: string;
  upstream: RetirementPolicy;
}

/**
 * Returns the valid request in a JSON body.
 *
 * Checks run in the API's order: model, unknown names, prompt, n, the rest, size. The first problem is
 * reported.
 *
 * @param json the body as parsed, not trusted
 * @param nowMs milliseconds since the epoch: a model may be retired
 * @param accept the image type that the client prefers to JSON. It is the default of `output_format` if
 *   the model has that parameter
 * @throws {GatewayError} the first problem
 */
export function parseImageRequest(
  json: unknown,
  rules: RequestRules,
  nowMs: number,
  accept?: ImageType,
): ImageRequest {
  const body = withoutNulls(jsonObject(json), rules.requireDocumentedFields);
  const model = requestedModel(body["model"], rules, nowMs);
  if (accept !== undefined && model.rules.imageOptions) body["output_format"] ??= accept;
  const result = schemaFor(model.rules, rules).safeParse(body, { reportInput: true });
  if (!result.success) {
    throw new GatewayError(failureOfIssues(result.error.issues, PARAMETERS, model.id));
  }
  const fields = result.data;
  const stream = fields.stream ?? false;
  const spec: ImageSpec = {
    model: model.id,
    upstreamModel: model.upstreamId,
    prompt: fields.prompt,
    n: fields.n,
    size: fields.size,
    quality: fields.quality,
    style: fields.style,
    options: imageOptions(fields),
  };
  const failure = combinationFailure(spec, stream) ?? sizeFailure(spec, model.rules);
  if (failure !== undefined) throw new GatewayError(failure);
  return {
    spec: withSuccessor(spec, rules, nowMs),
    upstream: {
      stream,
      partialImages: fields.partial_images ?? 0,
      user: fields.user,
      safetyIdentifier: fields.safety_identifier,
    },
    delivery: {
      format: fields.response_format,
      stream,
      accept: stream ? undefined : accept,
    },
  };
}

/**
 * Returns a spec with the successor of its model, if that model is retired now. The spec of a stored
 * request is resolved again before it is sent.
 *
 * The spec stays valid, because a successor accepts what its predecessor accepts. An alias wins: the
 * one at the time of parsing, otherwise the current one.
 *
 * @param nowMs milliseconds since the epoch
 */
export function withSuccessor(
  spec: ImageSpec,
  rules: Pick<RequestRules, "models" | "upstream">,
  nowMs: number,
): ImageSpec {
  const original = asRequested(spec);
  const { model } = original;
  if (original.upstreamModel !== model) return original;
  const { upstreamId, isAlias } = servedModel(rules, model) ?? {
    upstreamId: model,
    isAlias: false,
  };
  const successor = successorAt({ id: model, isAlias }, rules.upstream, nowMs);
  if (successor === undefined) return { ...original, upstreamModel: upstreamId };
  return { ...original, upstreamModel: successor, retiredModel: model };
}

/** Returns a spec as it was before a successor replaced its model: the form that is stored. */
export function asRequested<Spec extends Pick<ImageSpec, "upstreamModel" | "retiredModel">>({
  retiredModel,
  ...spec
}: Spec): Omit<Spec, "retiredModel"> {
  return retiredModel === undefined ? spec : { ...spec, upstreamModel: retiredModel };
}

function requestedModel(id: unknown, rules: RequestRules, nowMs: number): ServedModel {
  if (id !== undefined && typeof id !== "string") {
    throw new GatewayError(invalidType("model", "string", id));
  }
  const model = servedModel(rules, id ?? rules.defaultModel);
  if (model === undefined) {
    throw new GatewayError({ code: "model_not_served", model: id ?? rules.defaultModel });
  }
  const retirement = withdrawalAt(model, rules.upstream, nowMs);
  if (retirement !== undefined) {
    throw new GatewayError({ code: "model_retired", model: model.id, ...retirement });
  }
  return model;
}

/** Returns the options of the GPT image models. The schema sets all of them, or none. */
function imageOptions(fields: z.infer<BodySchema>): ImageOptions | undefined {
  const { background, output_format, output_compression, moderation } = fields;
  if (
    background === undefined ||
    output_format === undefined ||
    output_compression === undefined ||
    moderation === undefined
  ) {
    return undefined;
  }
  return { background, output_format, output_compression, moderation };
}

/** Checks the rules about two parameters together. */
function combinationFailure({ n, options }: ImageSpec, stream: boolean): Failure | undefined {
  if (options === undefined) return undefined;
  const { background, output_format: format, output_compression } = options;
  if (stream && n > 1) return { code: "stream_with_many_images" };
  if (output_compression < 100 && !LOSSY_FORMATS.includes(format)) {
    return { code: "invalid_png_output_compression" };
  }
  if (background === "transparent" && !ALPHA_FORMATS.includes(format)) {
    return { code: "transparent_without_alpha", format };
  }
  return undefined;
}

function sizeFailure({ size, model }: ImageSpec, { sizes }: ModelRules): Failure | undefined {
  const reason = sizeProblem(size, sizes);
  return reason === undefined ? undefined : { code: "size_not_allowed", model, reason };
}
