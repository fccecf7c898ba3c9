import * as z from "zod";
import { listedModels } from "../contract/model-list.ts";
import { FAMILIES, SNAPSHOT_DATE, type ModelRules } from "../contract/models.ts";
import { absentValues, schemasFor, type RequestSchemas } from "../contract/request-body.ts";
import type { RequestRules } from "../contract/request.ts";

/**
 * Returns the body of POST /v1/images/generations: the schema that validates, for each served family of
 * models, with the limits of this gateway.
 *
 * @param nowMs milliseconds since the epoch: a model may be retired
 */
export function generationBody(gateway: RequestRules, nowMs: number): z.ZodType {
  const served = Map.groupBy(listedModels(gateway, nowMs), ({ rules }) => rules);
  const bodies = FAMILIES.flatMap(({ name, rules }) => {
    const ids = served.get(rules)?.map(({ id }) => id);
    return ids === undefined ? [] : [familyBody(ids, rules, gateway).meta({ id: name })];
  });
  return z.union(bodies).meta({
    id: "GenerationBody",
    description:
      "The parameters depend on the model. `GET /v1/models` lists them for each model. These rules are not in this schema: `stream` requires `n` 1. `output_compression` below 100 requires jpeg or webp. A transparent background requires png or webp. `frame_count` and `frame_duration_ms` require gif, and `svg` requires svg. Both formats exclude `stream`, `partial_images` and `output_compression` below 100, and svg also `n` above 1.",
  });
}

function familyBody(ids: readonly string[], rules: ModelRules, gateway: RequestRules) {
  const schemas = schemasFor(rules, gateway);
  const shape = {
    ...schemas.body.shape,
    ...schemas.extras.shape,
    size: sizeSchema(rules, schemas.optional.has("size")),
  };
  const parameters = Object.entries(shape).map(([name, schema]) => [
    name,
    withAbsent(name, schema, schemas),
  ]);
  return z.strictObject({
    ...Object.fromEntries(parameters),
    model: modelSchema(ids, gateway.defaultModel),
    webhook_url: z
      .url()
      .nullish()
      .describe(
        "The URL that receives the webhook delivery. Requires the header `Prefer: respond-async`.",
      ),
  });
}

/** Returns the schema of a parameter with the values that mean absent. */
function withAbsent(name: string, schema: z.ZodType, schemas: RequestSchemas): z.ZodType {
  const values = absentValues(name, schemas);
  const absent = z.unknown().meta({ enum: values });
  if (isOnlyUndefined(schema)) {
    return absent.meta({
      description: "Not available for these models. These values mean absent.",
    });
  }
  if (values.length > 1) return z.union([schema, absent]);
  return values.length === 1 ? schema.nullable() : schema;
}

function isOnlyUndefined(schema: z.ZodType): boolean {
  const inner = schema instanceof z.ZodOptional ? schema.unwrap() : schema;
  return inner instanceof z.ZodUndefined;
}

/** Returns the schema of `model` in the body of a family. Only the default may be omitted. */
function modelSchema(ids: readonly string[], defaultModel: string): z.ZodType {
  const anyId = ids.map((id) => id.replaceAll(".", String.raw`\.`)).join("|");
  const model = z
    .string()
    .regex(new RegExp(`^(?:${anyId})(?:${SNAPSHOT_DATE})?$`))
    .describe(`${ids.map((id) => `\`${id}\``).join(", ")}, or a dated snapshot (id-YYYY-MM-DD).`);
  return ids.includes(defaultModel) ? model.default(defaultModel).nullable() : model;
}

function sizeSchema({ sizes, defaultSize }: ModelRules, isOptional: boolean): z.ZodType {
  const size =
    sizes.kind === "listed"
      ? z.enum(sizes.sizes)
      : z
          .string()
          .regex(/^(?:auto|[1-9]\d{0,4}x[1-9]\d{0,4})$/)
          .describe("Within the bounds that `GET /v1/models` lists.");
  return isOptional ? size.default(defaultSize) : size;
}
