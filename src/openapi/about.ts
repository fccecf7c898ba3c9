import { z } from "@hono/zod-openapi";
import { modelListSchema, modelSchema } from "../contract/model-list.ts";
import { errorResponses } from "./errors.ts";
import { onEveryAnswer } from "./headers.ts";
import type { Route } from "./route.ts";

const TAG = ["About"];

const health = () => {
  const present = z.record(z.string(), z.boolean());
  return z
    .object({
      status: z.literal("ok"),
      version: z.string(),
      bindings: present,
      secrets: present,
      access: z.enum(["public", "token"]),
      turnstile_site_key: z.string().nullable().openapi({
        description: "Where it is set, POST /v1/tokens takes this widget's tokens.",
      }),
      budget: z.object({
        usd_per_day: z.number(),
        usd_left: z.number().openapi({ description: "Of today, UTC." }),
      }),
      local_development: z.boolean(),
    })
    .openapi("Health");
};

/** `/v1/models`, `/health` and this document. */
export const about = (): Route[] => [
  {
    method: "get",
    path: "/v1/models",
    operationId: "listModels",
    summary: "The models that are served, and what each takes",
    tags: TAG,
    security: [],
    responses: {
      200: {
        description: "The models.",
        headers: onEveryAnswer(),
        content: { "application/json": { schema: modelListSchema() } },
      },
      ...errorResponses(),
    },
  },
  {
    method: "get",
    path: "/v1/models/{id}",
    operationId: "getModel",
    summary: "One model, and what it takes",
    tags: TAG,
    security: [],
    request: { params: z.object({ id: z.string().openapi({ example: "gpt-image-2" }) }) },
    responses: {
      200: {
        description: "The model.",
        headers: onEveryAnswer(),
        content: { "application/json": { schema: modelSchema() } },
      },
      ...errorResponses("model_not_found"),
    },
  },
  {
    method: "get",
    path: "/health",
    operationId: "getHealth",
    summary: "Whether the gateway runs, and with what",
    tags: TAG,
    security: [],
    responses: {
      200: {
        description: "It runs. Names of bindings and secrets, and never a value.",
        headers: onEveryAnswer("cache-control"),
        content: { "application/json": { schema: health() } },
      },
      ...errorResponses(),
    },
  },
  {
    method: "get",
    path: "/openapi.json",
    operationId: "getDocument",
    summary: "This document",
    tags: TAG,
    security: [],
    responses: {
      200: {
        description: "OpenAPI 3.1.",
        headers: onEveryAnswer("cache-control"),
        content: { "application/json": { schema: z.looseObject({ openapi: z.string() }) } },
      },
      ...errorResponses(),
    },
  },
];
