import { z } from "@hono/zod-openapi";
import { FAMILIES, type ModelRules } from "../contract/models.ts";
import { bodySchema } from "../contract/request.ts";
import { once } from "../lib/once.ts";

const LONGEST = { promptMaxChars: Number.MAX_SAFE_INTEGER, requireDocumentedFields: false };

/** A body of POST /v1/images/generations: for each family of models the schema that validates it. */
export const generationBody = once(() =>
  z.union(FAMILIES.map(({ name, rules }) => familyBody(name, rules))).openapi("GenerationBody", {
    description:
      "Which parameters there are depends on the model; `GET /v1/models` tells for each.",
  }),
);

function familyBody(name: string, rules: ModelRules) {
  const { shape } = bodySchema(rules, LONGEST);
  // What this family does not take is told by not naming it.
  const taken = Object.entries(shape).filter(([, schema]) => !isOnlyUndefined(schema));
  return z
    .strictObject({
      ...Object.fromEntries(taken),
      prompt: z.string().min(1).max(rules.promptMaxChars),
      size: sizeSchema(rules),
      webhook_url: z.url().optional().openapi({
        description: "Who is to be called back. Needs the header `Prefer: respond-async`.",
      }),
    })
    .openapi(name);
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
