import * as z from "zod";
import { countCodePoints } from "../lib/text.ts";
import {
  BACKGROUNDS,
  MAX_PARTIAL_IMAGES,
  MODERATIONS,
  OUTPUT_FORMATS,
  RESPONSE_FORMATS,
  type ModelRules,
} from "./models.ts";

/** The limits of a body that do not depend on the model. */
export interface RequestLimits {
  promptMaxChars: number;
  /** True if `n` and `size` are required, as in the reference document. */
  requireDocumentedFields: boolean;
}

/** Every parameter, in the order in which problems are reported. */
export const PARAMETERS = [
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

/** The parameters for which null is a wrong type, not an absent value. */
const REQUIRED = ["prompt"] as const;
/** The same with `requireDocumentedFields`. */
const REQUIRED_BY_DOCUMENT = ["prompt", "n", "size"] as const;

/** Removes optional fields that are null, which means absent. Unknown names stay and are rejected. */
export function withoutNulls(json: object, documentedRequired: boolean): Record<string, unknown> {
  const required: readonly string[] = documentedRequired ? REQUIRED_BY_DOCUMENT : REQUIRED;
  const optional = new Set<string>(PARAMETERS.filter((name) => !required.includes(name)));
  return Object.fromEntries(
    Object.entries(json).filter(([name, value]) => value !== null || !optional.has(name)),
  );
}

export type BodySchema = ReturnType<typeof bodySchema>;

/** One for each family of models, because a schema takes longer to build than to run. */
const schemas = new WeakMap<RequestLimits, Map<ModelRules, BodySchema>>();

/** Returns the cached schema of a request body for a family of models. */
export function schemaFor(rules: ModelRules, limits: RequestLimits): BodySchema {
  const known = schemas.get(limits) ?? new Map<ModelRules, BodySchema>();
  schemas.set(limits, known);
  const schema = known.get(rules) ?? bodySchema(rules, limits);
  known.set(rules, schema);
  return schema;
}

/**
 * Returns the schema of a request body for a family of models: the accepted names, their types, values
 * and bounds. Rules about two parameters together are checked after it.
 */
export function bodySchema(rules: ModelRules, limits: RequestLimits) {
  const notAccepted = z.undefined().optional();
  const option = <Schema extends z.ZodType>(schema: Schema) =>
    rules.imageOptions ? schema : notAccepted;
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
    style: rules.styles === undefined ? notAccepted : z.enum(rules.styles).default(rules.styles[0]),
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
