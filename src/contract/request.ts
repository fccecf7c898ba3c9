import { z } from "@hono/zod-openapi";
import type { Config } from "../config/environment.ts";
import { servedModel, type ServedModel } from "./catalog.ts";
import { GatewayError, type Failure } from "../errors/failure.ts";
import type { ImageType } from "../lib/image-type.ts";
import { countCodePoints } from "../lib/text.ts";
import { failureOf, invalidType } from "./issues.ts";
import {
  ALPHA_FORMATS,
  BACKGROUNDS,
  LOSSY_FORMATS,
  MAX_PARTIAL_IMAGES,
  MODERATIONS,
  OUTPUT_FORMATS,
  RESPONSE_FORMATS,
  sizeProblem,
  type ModelRules,
  type ResponseFormat,
} from "./models.ts";
import { jsonObject } from "./parse.ts";
import { successorAt, withdrawalAt } from "./retirement.ts";

/** A valid request with every default in place, in the API's own names. */
export interface ImageRequest {
  /** What the client asked for. */
  model: string;
  /** What the upstream is sent: the same, the alias's other side, or a retired model's successor. */
  upstreamModel: string;
  /** The model that `upstreamModel` replaces, because OpenAI has shut it down; absent if none. */
  retiredModel?: string;
  rules: ModelRules;
  prompt: string;
  n: number;
  size: string;
  quality: string;
  /** dall-e-3 only. */
  style: string | undefined;
  /** GPT image models only; `undefined` for the others. */
  options: ImageOptions | undefined;
  response_format: ResponseFormat;
  user: string | undefined;
  safety_identifier: string | undefined;
}

/** The parameters that only GPT image models take. */
export interface ImageOptions {
  background: "transparent" | "opaque" | "auto";
  output_format: ImageType;
  /** 0..100. */
  output_compression: number;
  moderation: "auto" | "low";
  stream: boolean;
  /** 0..3. */
  partial_images: number;
}

/** Every name that a body may hold, in the order in which problems are reported. */
const PARAMETERS = [
  "model",
  "prompt",
  "n",
  "quality",
  "style",
  "background",
  "output_format",
  "output_compression",
  "moderation",
  "stream",
  "partial_images",
  "response_format",
  "user",
  "safety_identifier",
  "size",
] as const;

/** Never absent: for these, null is a wrong type. */
const REQUIRED = ["prompt"] as const;
/** Required as well where the reference document is taken at its word. */
const REQUIRED_BY_DOCUMENT = ["prompt", "n", "size"] as const;

/**
 * The valid request in a JSON body.
 *
 * Checks run in the API's order: model, unknown names, prompt, n, the rest, size; the first problem
 * is the answer.
 *
 * @param json the body as parsed, not trusted
 * @param nowMs milliseconds since the epoch: a model may be retired
 * @param preferredFormat stands in for an `output_format` that was left open, where the model has one
 * @throws {GatewayError} one of the rows of the contract's table of errors
 */
export function parseImageRequest(
  json: unknown,
  config: Config,
  nowMs: number,
  preferredFormat?: ImageType,
): ImageRequest {
  const body = withoutNulls(jsonObject(json), config.requireDocumentedFields);
  const model = requestedModel(body["model"], config, nowMs);
  if (preferredFormat !== undefined && model.rules.imageOptions) {
    body["output_format"] ??= preferredFormat;
  }
  const result = schemaFor(model.rules, config).safeParse(body, { reportInput: true });
  if (!result.success) throw new GatewayError(failureOf(result.error.issues, PARAMETERS, model.id));
  const fields = result.data;
  const request: ImageRequest = {
    model: model.id,
    upstreamModel: model.upstreamId,
    rules: model.rules,
    prompt: fields.prompt,
    n: fields.n,
    size: fields.size,
    quality: fields.quality,
    style: fields.style,
    options: optionsOf(fields),
    response_format: fields.response_format,
    user: fields.user,
    safety_identifier: fields.safety_identifier,
  };
  const failure = combinationFailure(request) ?? sizeFailure(request);
  if (failure !== undefined) throw new GatewayError(failure);
  return withSuccessor(request, config, nowMs);
}

/**
 * Returns a request with the successor of its model, if that model is retired now. A request that is
 * stored for later is resolved again before it is sent.
 *
 * The request stays valid, because a successor accepts what its predecessor accepts. An alias wins: the
 * one of the time at which the request was parsed, otherwise the one of now.
 *
 * @param nowMs milliseconds since the epoch
 */
export function withSuccessor(request: ImageRequest, config: Config, nowMs: number): ImageRequest {
  const original = asRequested(request);
  const { model } = original;
  if (original.upstreamModel !== model) return original;
  const { upstreamId, isAlias } = servedModel(config, model) ?? {
    upstreamId: model,
    isAlias: false,
  };
  const successor = successorAt({ id: model, isAlias }, config.upstream, nowMs);
  if (successor === undefined) return { ...original, upstreamModel: upstreamId };
  return { ...original, upstreamModel: successor, retiredModel: model };
}

/** Returns a request as it was before a successor replaced its model: the form that is stored. */
export function asRequested({ retiredModel, ...request }: ImageRequest): ImageRequest {
  return retiredModel === undefined ? request : { ...request, upstreamModel: retiredModel };
}

/** "null is the same as absent, for every optional field"; a name that nobody knows stays to be refused. */
function withoutNulls(json: object, documentedRequired: boolean): Record<string, unknown> {
  const required: readonly string[] = documentedRequired ? REQUIRED_BY_DOCUMENT : REQUIRED;
  const optional = new Set<string>(PARAMETERS.filter((name) => !required.includes(name)));
  return Object.fromEntries(
    Object.entries(json).filter(([name, value]) => value !== null || !optional.has(name)),
  );
}

function requestedModel(id: unknown, config: Config, nowMs: number): ServedModel {
  if (id !== undefined && typeof id !== "string") {
    throw new GatewayError(invalidType("model", "string", id));
  }
  const model = servedModel(config, id ?? config.defaultModel);
  if (model === undefined) {
    throw new GatewayError({ code: "model_not_served", model: id ?? config.defaultModel });
  }
  const retirement = withdrawalAt(model, config.upstream, nowMs);
  if (retirement !== undefined) {
    throw new GatewayError({ code: "model_retired", model: model.id, ...retirement });
  }
  return model;
}

/** What of the configuration decides about a body, beside the model. */
export interface RequestLimits {
  promptMaxChars: number;
  requireDocumentedFields: boolean;
}

type BodySchema = ReturnType<typeof bodySchema>;

/** A schema takes longer to build than to run; there are as many as families. */
const schemas = new WeakMap<Config, Map<ModelRules, BodySchema>>();

function schemaFor(rules: ModelRules, config: Config): BodySchema {
  const known = schemas.get(config) ?? new Map<ModelRules, BodySchema>();
  schemas.set(config, known);
  const schema = known.get(rules) ?? bodySchema(rules, config);
  known.set(rules, schema);
  return schema;
}

/**
 * The schema of a request body for a family of models: the names that it takes, their types, values
 * and bounds. What ties two parameters together is below it.
 */
export function bodySchema(rules: ModelRules, limits: RequestLimits) {
  const notTaken = z.undefined().optional();
  const option = <Schema extends z.ZodType>(schema: Schema) =>
    rules.imageOptions ? schema : notTaken;
  const promptMaxChars = Math.min(limits.promptMaxChars, rules.promptMaxChars);
  const n = z.int().min(1).max(rules.maxImages);
  const size = z.string();
  return z.strictObject({
    model: z.string().optional(),
    prompt: z
      .string()
      .min(1)
      .check((ctx) => {
        if (countCodePoints(ctx.value) <= promptMaxChars) return;
        ctx.issues.push({
          code: "too_big",
          origin: "string",
          maximum: promptMaxChars,
          input: ctx.value,
        });
      }),
    n: limits.requireDocumentedFields ? n : n.default(1),
    size: limits.requireDocumentedFields ? size : size.default(rules.defaultSize),
    quality: z.enum(rules.qualities).default(rules.qualities[0]),
    style: rules.styles === undefined ? notTaken : z.enum(rules.styles).default(rules.styles[0]),
    background: option(z.enum(BACKGROUNDS).default("auto")),
    output_format: option(z.enum(OUTPUT_FORMATS).default("png")),
    output_compression: option(z.int().min(0).max(100).default(100)),
    moderation: option(z.enum(MODERATIONS).default("auto")),
    stream: option(z.boolean().default(false)),
    partial_images: option(z.int().min(0).max(MAX_PARTIAL_IMAGES).default(0)),
    response_format: z.enum(RESPONSE_FORMATS).default(rules.defaultResponseFormat),
    user: z.string().optional(),
    safety_identifier: z.string().optional(),
  });
}

/** The GPT image options, which come all or none. */
function optionsOf(fields: z.infer<BodySchema>): ImageOptions | undefined {
  const { background, output_format, output_compression, moderation, stream, partial_images } =
    fields;
  if (
    background === undefined ||
    output_format === undefined ||
    output_compression === undefined ||
    moderation === undefined ||
    stream === undefined ||
    partial_images === undefined
  ) {
    return undefined;
  }
  return { background, output_format, output_compression, moderation, stream, partial_images };
}

/** Rules that tie two parameters together. */
function combinationFailure({ n, options }: ImageRequest): Failure | undefined {
  if (options === undefined) return undefined;
  const { background, output_format: format, output_compression, stream } = options;
  if (stream && n > 1) return { code: "stream_with_many_images" };
  if (output_compression < 100 && !LOSSY_FORMATS.includes(format)) {
    return { code: "invalid_png_output_compression" };
  }
  if (background === "transparent" && !ALPHA_FORMATS.includes(format)) {
    return { code: "transparent_without_alpha", format };
  }
  return undefined;
}

function sizeFailure({ size, model, rules }: ImageRequest): Failure | undefined {
  const reason = sizeProblem(size, rules.sizes);
  return reason === undefined ? undefined : { code: "size_not_allowed", model, reason };
}
