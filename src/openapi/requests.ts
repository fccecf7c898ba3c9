import * as z from "zod";
import { FAMILIES, type ModelRules } from "../contract/models.ts";
import { bodySchema } from "../contract/request-body.ts";

const NO_LIMITS = { promptMaxChars: Number.MAX_SAFE_INTEGER, requireDocumentedFields: false };

/** The body of POST /v1/images/generations: the schema that validates, for each family of models. */
export const generationBody = z
  .union(FAMILIES.map(({ name, rules }) => familyBody(name, rules)))
  .meta({
    id: "GenerationBody",
    description: "The parameters depend on the model. `GET /v1/models` lists them for each model.",
  });

function familyBody(name: string, rules: ModelRules) {
  const { shape } = bodySchema(rules, NO_LIMITS);
  // The document omits the parameters that this family does not accept.
  const accepted = Object.entries(shape).filter(([, schema]) => !isOnlyUndefined(schema));
  return z
    .strictObject({
      ...Object.fromEntries(accepted),
      prompt: z.string().min(1).max(rules.promptMaxChars),
      size: sizeSchema(rules),
      webhook_url: z
        .url()
        .optional()
        .describe(
          "The URL that receives the webhook delivery. Requires the header `Prefer: respond-async`.",
        ),
    })
    .meta({ id: name });
}

function isOnlyUndefined(schema: z.ZodType): boolean {
  const inner = schema instanceof z.ZodOptional ? schema.unwrap() : schema;
  return inner instanceof z.ZodUndefined;
}

function sizeSchema({ sizes, defaultSize }: ModelRules): z.ZodType {
  if (sizes.kind === "listed") return z.enum(sizes.sizes).default(defaultSize);
  return z
    .string()
    .regex(/^(?:auto|[1-9]\d{0,4}x[1-9]\d{0,4})$/)
    .default(defaultSize);
}
