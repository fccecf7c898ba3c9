import { z } from "@hono/zod-openapi";
import { once } from "../lib/once.ts";

const checkSchema = once(() =>
  z.object({
    name: z.enum(["upstream", "model", "aliases", "kv", "object", "workflow", "budget"]),
    ok: z.boolean(),
    warning: z.literal(true).optional().openapi({
      description: "Present if it works now, and the operator should change something in time.",
    }),
    detail: z.string(),
    cure: z.string().optional().openapi({ description: "What to do about it." }),
  }),
);

/** What was found out of one part. */
export type DoctorCheck = z.infer<ReturnType<typeof checkSchema>>;

/** What `GET /v1/doctor` answers. */
export const doctorSchema = once(() =>
  z
    .object({
      object: z.literal("doctor"),
      now_ms: z.int().openapi({ description: "The gateway's clock, Unix milliseconds." }),
      checks: z.array(checkSchema()),
    })
    .openapi("Doctor"),
);
