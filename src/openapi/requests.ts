import * as z from "zod";
import { FAMILIES, type ModelRules } from "../contract/models.ts";
import {
  bodySchema,
  extrasSchema,
  promptLimit,
  type RequestLimits,
} from "../contract/request-body.ts";
import type { RequestRules } from "../contract/request.ts";

/** The limits of a gateway, and the models that it serves. */
export type DocumentedRules = Pick<RequestRules, "models" | keyof RequestLimits>;

/** One for each configuration, because a schema takes longer to build than the rest of the document. */
const bodies = new WeakMap<DocumentedRules, z.ZodType>();

/**
 * Returns the body of POST /v1/images/generations: the schema that validates, for each served family of
 * models, with the limits of this gateway.
 */
export function generationBody(gateway: DocumentedRules): z.ZodType {
  const known = bodies.get(gateway);
  if (known !== undefined) return known;
  const served = new Set([...gateway.models.values()].map(({ rules }) => rules));
  const families = FAMILIES.filter(({ rules }) => served.has(rules));
  const body = z.union(families.map(({ name, rules }) => familyBody(name, rules, gateway))).meta({
    id: "GenerationBody",
    description: "The parameters depend on the model. `GET /v1/models` lists them for each model.",
  });
  bodies.set(gateway, body);
  return body;
}

function familyBody(name: string, rules: ModelRules, limits: RequestLimits) {
  const { shape } = bodySchema(rules, limits);
  // The document omits the parameters that this family does not accept.
  const accepted = Object.entries(shape).filter(([, schema]) => !isOnlyUndefined(schema));
  return z
    .strictObject({
      ...Object.fromEntries(accepted),
      ...extrasSchema(limits).shape,
      prompt: z.string().min(1).max(promptLimit(rules, limits)),
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
