import { expect, it } from "vitest";
import { app } from "../../src/app.ts";
import { openApiDocument } from "../../src/openapi/document.ts";
import { ORIGIN, testConfig } from "../support/worker/harness.ts";

it("the OpenAPI document describes every route and no other", () => {
  const { paths } = openApiDocument(ORIGIN, testConfig()) as {
    paths: Record<string, Record<string, unknown>>;
  };
  const described = Object.entries(paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const served = app.routes
    .filter(({ method, path }) => method !== "ALL" && path !== "/")
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
  expect(described.toSorted()).toEqual([...new Set(served)].toSorted());
});
