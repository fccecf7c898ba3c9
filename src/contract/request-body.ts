import * as z from "zod";
import type { ImageType } from "../lib/image-type.ts";
import { countCodePoints } from "../lib/text.ts";
import {
  BACKGROUNDS,
  FRAMES,
  MAX_PARTIAL_IMAGES,
  MAX_VARIANT,
  MODERATIONS,
  OPTION_DEFAULTS,
  RESPONSE_FORMATS,
  SVG_EFFORTS,
  type ModelRules,
} from "./models.ts";

/** The limits of a body that do not depend on the model. */
export interface RequestLimits {
  promptMaxChars: number;
  /** True if `n` and `size` are required, as in the reference document. */
  requireDocumentedFields: boolean;
  /** The names of the parameters that are forwarded to the upstream as they are. */
  extraParameters: readonly string[];
  /** The models that may write an SVG, by id. SVG is not accepted without one. */
  svgModels: ReadonlyMap<string, unknown>;
}

/** Every parameter, in the order in which problems are reported. Those of `extraParameters` precede `size`. */
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
  "complexity",
  "frame_count",
  "frame_duration_ms",
  "svg",
  "variant",
  "stream",
  "partial_images",
  "response_format",
  "user",
  "safety_identifier",
  "size",
] as const;

/** The parameter with the URL of a webhook delivery. */
export const WEBHOOK_URL = "webhook_url";

/** Returns true for a parameter of the Images API or of this gateway. `EXTRA_PARAMETERS` may name any other. */
export function isParameter(name: string): boolean {
  const names: readonly string[] = [...PARAMETERS, WEBHOOK_URL];
  return names.includes(name);
}

/** The parameters whose defaults `UPSTREAM_REQUIRES` may send. The first three are always sent. */
export const SENDABLE_DEFAULTS: readonly string[] = [
  "model",
  "prompt",
  "n",
  "size",
  "quality",
  "style",
  ...Object.keys(OPTION_DEFAULTS),
];

/** Returns the names of all parameters of a gateway, in the order in which problems are reported. */
export function parameterOrder({ extraParameters }: RequestLimits): readonly string[] {
  return [...PARAMETERS.slice(0, -1), ...extraParameters, ...PARAMETERS.slice(-1)];
}

/** The parameters for which null is a wrong type, not an absent value. */
const REQUIRED = ["prompt"] as const;
/** The same with `requireDocumentedFields`. */
const REQUIRED_BY_DOCUMENT = ["prompt", "n", "size"] as const;

function optionalParameters(limits: RequestLimits): ReadonlySet<string> {
  const required: readonly string[] = limits.requireDocumentedFields
    ? REQUIRED_BY_DOCUMENT
    : REQUIRED;
  return new Set(parameterOrder(limits).filter((name) => !required.includes(name)));
}

/**
 * The defaults that clients write out, also for models that do not accept the parameter. They then mean
 * absent.
 */
const WRITTEN_DEFAULTS = new Map<string, unknown>([
  ["quality", "auto"],
  ["style", "vivid"],
  ...Object.entries(OPTION_DEFAULTS),
  ["frame_count", FRAMES.default],
  ["frame_duration_ms", FRAMES.defaultMs],
  ["stream", false],
  ["partial_images", 0],
]);

/** Returns a body without the values that mean absent. Unknown names stay and are rejected. */
export function withoutAbsent(json: object, schemas: RequestSchemas): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(json).filter(([name, value]) => !isAbsent(name, value, schemas)),
  );
}

/** Returns the values of a parameter that mean absent. */
export function absentValues(name: string, schemas: RequestSchemas): unknown[] {
  return [null, WRITTEN_DEFAULTS.get(name)].filter((value) => isAbsent(name, value, schemas));
}

/** Returns true for null, and for a written default that the model does not accept. */
function isAbsent(name: string, value: unknown, { body, optional }: RequestSchemas): boolean {
  const shape: Record<string, z.ZodType | undefined> = body.shape;
  return (
    (value === null && optional.has(name)) ||
    (WRITTEN_DEFAULTS.has(name) &&
      WRITTEN_DEFAULTS.get(name) === value &&
      shape[name]?.safeParse(value).success !== true)
  );
}

export type BodySchema = ReturnType<typeof bodySchema>;

/** The values of a body, except those of `EXTRA_PARAMETERS`. */
export type Fields = z.infer<BodySchema>;

/** The schemas of a request: of the parameters that are named here, and of the others. */
export interface RequestSchemas {
  body: BodySchema;
  extras: ReturnType<typeof extrasSchema>;
  /** The parameters for which null means absent. */
  optional: ReadonlySet<string>;
}

/** One for each family of models, because a schema takes longer to build than to run. */
const schemasByLimits = new WeakMap<RequestLimits, Map<ModelRules, RequestSchemas>>();

/**
 * Returns the schemas of a request body for a family of models.
 *
 * @param limits the configuration itself, because the schemas are cached by its identity
 */
export function schemasFor(rules: ModelRules, limits: RequestLimits): RequestSchemas {
  const known = schemasByLimits.get(limits) ?? new Map<ModelRules, RequestSchemas>();
  const found = known.get(rules);
  if (found !== undefined) return found;
  const schemas = {
    body: bodySchema(rules, limits),
    extras: extrasSchema(limits),
    optional: optionalParameters(limits),
  };
  schemasByLimits.set(limits, known.set(rules, schemas));
  return schemas;
}

/** OpenAI's limit of `user` and `safety_identifier`. */
const IDENTIFIER_MAX_CHARS = 64;

/** The words that an unknown model may accept as `quality`. */
export const QUALITY_WORD = /^[\w-]{1,32}$/;

/**
 * Returns the schema of a request body for a family of models: the accepted names, their types, values
 * and bounds. Rules about two parameters together are checked after it.
 */
function bodySchema(rules: ModelRules, limits: RequestLimits) {
  const { qualities, styles } = rules;
  const notAccepted = z.undefined().optional();
  const onlyIf = <Schema extends z.ZodType>(isAccepted: boolean, schema: Schema) =>
    isAccepted ? schema : notAccepted;
  const option = <Schema extends z.ZodType>(schema: Schema) => onlyIf(rules.imageOptions, schema);
  const formats = outputFormats(rules, limits.svgModels);
  const hasFrames = formats.includes("gif");
  const n = z.int().min(1).max(rules.maxImages);
  const size = z.string();
  return z.strictObject({
    model: z.string().optional(),
    prompt: text(promptLimit(rules, limits)).min(1),
    n: limits.requireDocumentedFields ? n : n.default(1),
    size: limits.requireDocumentedFields ? size : size.default(rules.defaultSize),
    quality: (rules.isOpen
      ? z.string().regex(QUALITY_WORD, "must be 1 to 32 letters, digits, _ or -")
      : z.enum(qualities)
    ).default(qualities[0]),
    style: styles === undefined ? notAccepted : z.enum(styles).default(styles[0]),
    background: option(z.enum(BACKGROUNDS).default(OPTION_DEFAULTS.background)),
    output_format: option(z.enum(formats).default(OPTION_DEFAULTS.output_format)),
    output_compression: option(z.int().min(0).max(100).default(OPTION_DEFAULTS.output_compression)),
    moderation: option(z.enum(MODERATIONS).default(OPTION_DEFAULTS.moderation)),
    complexity: onlyIf(rules.complexities.length > 0, z.enum(rules.complexities).optional()),
    frame_count: onlyIf(hasFrames, z.int().min(FRAMES.min).max(FRAMES.max).optional()),
    frame_duration_ms: onlyIf(hasFrames, z.int().min(FRAMES.minMs).optional()),
    svg: onlyIf(formats.includes("svg"), svgAuthor([...limits.svgModels.keys()]).optional()),
    variant: z.int().min(0).max(MAX_VARIANT).default(0),
    stream: option(z.boolean().default(false)),
    partial_images: option(z.int().min(0).max(MAX_PARTIAL_IMAGES).default(0)),
    response_format: z.enum(RESPONSE_FORMATS).default(rules.defaultResponseFormat),
    user: text(IDENTIFIER_MAX_CHARS).optional(),
    safety_identifier: text(IDENTIFIER_MAX_CHARS).optional(),
  });
}

/** Returns the output formats of a family on a gateway: SVG only if a model is priced that may write it. */
export function outputFormats(
  rules: ModelRules,
  svgModels: RequestLimits["svgModels"],
): readonly ImageType[] {
  return rules.outputFormats.filter((format) => format !== "svg" || svgModels.size > 0);
}

/** Returns the length limit of a prompt: the gateway's, or the model's if that is smaller. */
export function promptLimit(
  { promptMaxChars }: ModelRules,
  limits: Pick<RequestLimits, "promptMaxChars">,
): number {
  return Math.min(limits.promptMaxChars, promptMaxChars);
}

/** Returns the schema of a text with a length limit, in characters (code points) as OpenAI counts them. */
function text(maxChars: number) {
  return (
    z
      .string()
      .check((ctx) => {
        if (countCodePoints(ctx.value) <= maxChars) return;
        ctx.issues.push({
          code: "too_big",
          origin: "string",
          maximum: maxChars,
          input: ctx.value,
          // The value has the right type: a union then reports this issue, not a wrong type.
          continue: true,
        });
      })
      // For the OpenAPI document, which cannot derive it from a function.
      .meta({ maxLength: maxChars })
  );
}

/**
 * Returns the schema of `svg`.
 *
 * @param models the ids of the models that may write an SVG
 */
function svgAuthor(models: readonly string[]) {
  return z.strictObject({
    model: z.enum(models).nullish(),
    reasoning: z.strictObject({ effort: z.enum(SVG_EFFORTS).nullish() }).nullish(),
  });
}

const EXTRA_MAX_CHARS = 4000;

/** Returns the schema of the parameters that `EXTRA_PARAMETERS` names. */
function extrasSchema({ extraParameters }: RequestLimits) {
  // Past 2^53, JSON's integers lose digits: two different ones would share a cache key.
  const number = z.number().min(Number.MIN_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER);
  const value = z.union([text(EXTRA_MAX_CHARS), number, z.boolean()]).optional();
  return z.object(Object.fromEntries(extraParameters.map((name) => [name, value])));
}
