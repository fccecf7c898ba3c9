import { OpenAPIRegistry, OpenApiGeneratorV31 } from "@asteasolutions/zod-to-openapi";
import { version } from "../../package.json";
import type { RequestRules } from "../contract/request.ts";
import { cancelBatch, createBatch, getBatch } from "./batches.ts";
import { getDiagnostics, getDoctor, resetLearnedTokens } from "./diagnostics.ts";
import { imageExamples } from "./examples.ts";
import { createImage, deleteGeneration, getGeneration } from "./generations.ts";
import { getHealth } from "./health.ts";
import { getImage } from "./images.ts";
import { getModel, listModels } from "./models.ts";
import { getDocument } from "./openapi.ts";
import { generationBody } from "./requests.ts";
import type { Route } from "./route.ts";
import { getSignedImage } from "./signed-image.ts";
import { createToken, revokeToken, revokeTokensOfSubject } from "./tokens.ts";
import { getUsage, releaseUncertainUsage } from "./usage.ts";
import { createVariation } from "./variations.ts";
import { submitBySignedWebhook, submitByWebhookWithToken } from "./webhooks.ts";

/** Returns every operation, in the order in which the document lists them. */
function routesOf(gateway: RequestRules, nowMs: number): Route[] {
  const body = generationBody(gateway, nowMs);
  const examples = imageExamples(gateway, nowMs);
  return [
    createImage(body, examples),
    getSignedImage,
    createVariation,
    getGeneration,
    deleteGeneration,
    getImage,
    submitBySignedWebhook(body, examples),
    submitByWebhookWithToken(body, examples),
    createBatch(examples),
    getBatch,
    cancelBatch,
    createToken,
    revokeToken,
    revokeTokensOfSubject,
    getUsage,
    releaseUncertainUsage,
    getDiagnostics,
    getDoctor,
    resetLearnedTokens,
    listModels,
    getModel(examples),
    getHealth,
    getDocument,
  ];
}

/**
 * Returns the OpenAPI 3.1 document, generated from the schemas that validate requests.
 *
 * @param origin of the gateway
 * @param gateway its limits, and the models that it serves
 * @param nowMs milliseconds since the epoch: a model may be retired
 */
export function openApiDocument(origin: string, gateway: RequestRules, nowMs: number): object {
  const registry = new OpenAPIRegistry();
  registry.registerComponent("securitySchemes", "token", {
    type: "http",
    scheme: "bearer",
    bearerFormat: "JWT",
    description:
      "Required with `ACCESS=token`. With `ACCESS=public` a valid token selects its own budget, and any other value that an SDK sends is ignored.",
  });
  registry.registerComponent("securitySchemes", "adminKey", {
    type: "http",
    scheme: "bearer",
    description: "The secret `ADMIN_KEY`.",
  });
  for (const route of routesOf(gateway, nowMs)) registry.registerPath(route);
  return new OpenApiGeneratorV31(registry.definitions).generateDocument({
    openapi: "3.1.0",
    info: {
      title: "Darkroom",
      version,
      description:
        "The OpenAI Images API with a cache. Identical requests pay for an image once, and a client that disconnects does not lose it. Every error has the same form. If a URL does not accept a method, the response is 405 with `Allow`. If a path is not in this document, the response is 404 `not_found`.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: origin }],
    tags: [
      { name: "Generations", description: "Generate images from prompts." },
      { name: "Jobs", description: "Generate images in the background." },
      { name: "Operator", description: "Manage tokens, read usage, run diagnostics." },
      { name: "About", description: "Describe the gateway itself." },
    ],
  });
}
