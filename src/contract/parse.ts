import type * as z from "zod";
import { GatewayError } from "../errors/failure.ts";
import { failureOfIssues } from "./issues.ts";

/**
 * Returns a JSON body if it is an object.
 *
 * @param json as parsed, not trusted
 * @throws {GatewayError} `invalid_json`
 */
export function jsonObject(json: unknown): object {
  if (typeof json === "object" && json !== null && !Array.isArray(json)) return json;
  throw new GatewayError({ code: "invalid_json", problem: "not_an_object" });
}

/**
 * Returns a JSON body as parsed by its schema.
 *
 * @param order the parameters in the order in which problems are reported
 * @throws {GatewayError} `invalid_json`, or the first problem
 */
export function parseBody<Schema extends z.ZodType>(
  schema: Schema,
  json: unknown,
  order: readonly string[],
): z.output<Schema> {
  const result = schema.safeParse(jsonObject(json), { reportInput: true });
  if (result.success) return result.data;
  throw new GatewayError(failureOfIssues(result.error.issues, order, undefined));
}
