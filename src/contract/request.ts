import { GatewayError, type Failure } from "../errors/failure.ts";
import type { ImageType } from "../lib/image-type.ts";
import { servedModel, type Catalog, type ServedModel } from "./catalog.ts";
import { combinationFailure, sizeFailure } from "./combinations.ts";
import {
  asRequested,
  type FurtherParameters,
  type ImageOptions,
  type ImageSpec,
  type SvgAuthor,
} from "./image-spec.ts";
import { failureOfIssues, invalidType } from "./issues.ts";
import { FRAMES, type ModelRules, type ResponseFormat } from "./models.ts";
import { jsonObject } from "./parse.ts";
import {
  isParameter,
  parameterOrder,
  schemasFor,
  withoutAbsent,
  type Fields,
  type RequestLimits,
  type RequestSchemas,
} from "./request-body.ts";
import { successorAt, withdrawalAt, type RetirementPolicy } from "./retirement.ts";

/** A valid request with every default in place, split by what each part decides. */
export interface ImageRequest {
  readonly spec: ImageSpec;
  readonly upstream: UpstreamOptions;
  readonly delivery: Delivery;
}

/** Parameters for the upstream that do not change the image. */
export interface UpstreamOptions {
  readonly stream: boolean;
  /** 0..3. */
  readonly partialImages: number;
  readonly user: string | undefined;
  readonly safetyIdentifier: string | undefined;
}

/**
 * Returns the identifier that the upstream uses for a request: `safety_identifier`, or else the older `user`.
 */
export function safetyIdentifierOf({
  safetyIdentifier,
  user,
}: UpstreamOptions): string | undefined {
  return safetyIdentifier ?? user;
}

/** How the client receives the images. */
export interface Delivery {
  /** How JSON and events contain the images. */
  readonly format: ResponseFormat;
  /** True if the client receives server-sent events. */
  readonly stream: boolean;
  /** True if the client prefers the image itself to JSON. */
  readonly asImage: boolean;
}

/**
 * Returns the format in which the images are read: as bytes if the response is an image, otherwise as the
 * client requests.
 */
export function imageFormat<Format extends ResponseFormat | undefined>({
  format,
  asImage,
}: {
  format: Format;
  asImage: boolean;
}): Format | "b64_json" {
  return asImage ? "b64_json" : format;
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
 * @param accept the image types that the client prefers to JSON, the preferred one first. The first that
 *   the model is known to generate is the default of `output_format`
 * @throws {GatewayError} the first problem
 */
export function parseImageRequest(
  json: unknown,
  rules: RequestRules,
  nowMs: number,
  accept?: readonly ImageType[],
): ImageRequest {
  const object = jsonObject(json);
  const requested: unknown = "model" in object ? object.model : undefined;
  const model = requestedModel(requested ?? undefined, rules, nowMs);
  const schemas = schemasFor(model.rules, rules);
  const body = withoutAbsent(object, schemas);
  const isImage = accept !== undefined && body["stream"] !== true;
  const preferred = isImage ? accept.find((type) => mayChoose(type, model.rules)) : undefined;
  if (preferred !== undefined) body["output_format"] ??= preferred;
  const { fields, extras } = parseFields(body, schemas, model, rules);
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
    further: furtherParameters(fields, extras),
  };
  const failure = combinationFailure(spec, fields) ?? sizeFailure(spec, model.rules);
  if (failure !== undefined) throw new GatewayError(failure);
  return {
    spec: withSuccessor(spec, rules, nowMs),
    upstream: {
      stream,
      partialImages: fields.partial_images ?? 0,
      user: nonEmpty(fields.user),
      safetyIdentifier: nonEmpty(fields.safety_identifier),
    },
    delivery: { format: fields.response_format, stream, asImage: isImage },
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

/**
 * Returns true if an accepted type may become the `output_format`. A client has to request SVG, which is a
 * document with links, by its name. An open model's server may reject the parameter.
 */
function mayChoose(accepted: ImageType, { outputFormats, isOpen }: ModelRules): boolean {
  return accepted !== "svg" && outputFormats.includes(accepted) && !isOpen;
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

/** Returns the values of a body, those of `EXTRA_PARAMETERS` apart. */
function parseFields(
  body: Record<string, unknown>,
  schemas: RequestSchemas,
  model: ServedModel,
  rules: RequestRules,
) {
  const named = Object.entries(body).filter(([name]) => !rules.extraParameters.includes(name));
  const fields = schemas.body.safeParse(Object.fromEntries(named), { reportInput: true });
  const extras = schemas.extras.safeParse(body, { reportInput: true });
  if (fields.success && extras.success) return { fields: fields.data, extras: extras.data };
  const issues = [...(fields.error?.issues ?? []), ...(extras.error?.issues ?? [])];
  const failure = failureOfIssues(issues, parameterOrder(rules), model.id);
  throw new GatewayError(withVariable(failure, model.rules, rules));
}

/** Adds the variable with which the operator can allow what a request contains, if there is one. */
function withVariable(
  failure: Failure,
  { promptMaxChars, outputFormats, isOpen }: ModelRules,
  limits: RequestLimits,
): Failure {
  const isSvgOff = outputFormats.includes("svg") && limits.svgModels.size === 0;
  switch (failure.code) {
    case "string_above_max_length":
      return failure.param === "prompt" && limits.promptMaxChars < promptMaxChars
        ? { ...failure, raisable: { variable: "PROMPT_MAX_CHARS", maxChars: promptMaxChars } }
        : failure;
    case "invalid_value":
      return failure.param === "output_format" && isSvgOff
        ? { ...failure, variable: "SVG_MODELS" }
        : failure;
    case "unknown_parameter":
      // The model has the parameter, but this endpoint does not accept it.
      if (failure.param === "svg" && isSvgOff) {
        return { ...failure, model: undefined, variable: "SVG_MODELS" };
      }
      // The name of a nested parameter has a dot.
      return isOpen && !isParameter(failure.param) && !failure.param.includes(".")
        ? { ...failure, variable: "EXTRA_PARAMETERS" }
        : failure;
    default:
      return failure;
  }
}

/** Returns the options of the GPT image models. The schema sets all of them, or none. */
function imageOptions(fields: Fields): ImageOptions | undefined {
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

function furtherParameters(fields: Fields, extras: Record<string, unknown>): FurtherParameters {
  const { complexity, frame_count, frame_duration_ms, svg, variant } = fields;
  return {
    ...extras,
    complexity,
    frame_count: unless(FRAMES.default, frame_count),
    frame_duration_ms: unless(FRAMES.defaultMs, frame_duration_ms),
    svg: requestedAuthor(svg),
    variant: unless(0, variant),
  };
}

function requestedAuthor(svg: Fields["svg"]): SvgAuthor | undefined {
  const model = svg?.model ?? undefined;
  const effort = svg?.reasoning?.effort ?? undefined;
  if (model === undefined && effort === undefined) return undefined;
  return { model, reasoning: effort === undefined ? undefined : { effort } };
}

/** Returns a value, or `undefined` if it is the default. */
function unless<Value>(preset: Value, value: Value | undefined): Value | undefined {
  return value === preset ? undefined : value;
}

function nonEmpty(text: string | undefined): string | undefined {
  return unless("", text);
}
