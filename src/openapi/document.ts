import { OpenAPIHono } from "@hono/zod-openapi";
import { version } from "../../package.json";
import { about } from "./about.ts";
import { generations } from "./generations.ts";
import { jobs } from "./jobs.ts";
import { owner } from "./owner.ts";

/**
 * The OpenAPI 3.1 document, made from the schemas that validate. Built when it is asked for: it is ten
 * times what answering takes, and a Worker's start-up is everybody's first request.
 *
 * @param origin of the gateway
 */
export function openApiDocument(origin: string): object {
  const described = new OpenAPIHono();
  const registry = described.openAPIRegistry;
  registry.registerComponent("securitySchemes", "token", {
    type: "http",
    scheme: "bearer",
    bearerFormat: "JWT",
    description: "Where `ACCESS` wants one. Elsewhere whatever an SDK sends here is ignored.",
  });
  registry.registerComponent("securitySchemes", "adminKey", {
    type: "http",
    scheme: "bearer",
    description: "The secret `ADMIN_KEY`.",
  });
  for (const route of [...generations(), ...jobs(), ...owner(), ...about()]) {
    registry.registerPath(route);
  }
  return described.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Darkroom",
      version,
      description:
        "The OpenAI Images API, kept: an image is paid for once, and never lost. Every error has the same form; a method that a URL does not take is 405 with `Allow`, and a path that is not in this document is 404 `not_found`.",
      license: { name: "As the repository says" },
    },
    servers: [{ url: origin }],
    tags: [
      { name: "Generations", description: "Pictures from prompts." },
      { name: "Jobs", description: "Pictures that nobody waits for." },
      { name: "Owner", description: "Tokens and usage." },
      { name: "About", description: "The gateway itself." },
    ],
  });
}
