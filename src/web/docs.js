import { element } from "./form.js";
import { code, node, plain, prose } from "./nodes.js";

/**
 * Shows /openapi.json as a page.
 *
 * @typedef {{ $ref?: string, type?: string | string[], enum?: unknown[], anyOf?: Schema[],
 *   properties?: Record<string, Schema>, required?: string[], items?: Schema, description?: string,
 *   default?: unknown, minimum?: number, maximum?: number, minLength?: number, maxLength?: number,
 *   pattern?: string }} Schema
 * @typedef {{ schema?: Schema, examples?: Record<string, { summary?: string, value: unknown }> }} Media
 * @typedef {{ name: string, in: string, required?: boolean, description?: string, schema: Schema }} Parameter
 * @typedef {{ description: string, headers?: Record<string, { description?: string }>,
 *   content?: Record<string, Media> }} ApiResponse
 * @typedef {{ operationId: string, summary: string, description?: string, tags: string[],
 *   security?: Record<string, unknown>[], parameters?: Parameter[],
 *   requestBody?: { content: Record<string, Media> }, responses: Record<string, ApiResponse> }} Operation
 * @typedef {{ info: { title: string, version: string, description: string },
 *   tags: { name: string, description: string }[], paths: Record<string, Record<string, Operation>>,
 *   components: { schemas: Record<string, Schema> } }} OpenApi
 */

const JSON_TYPE = "application/json";

/** A bound on recursion. No schema of this API is this deep. */
const MAX_DEPTH = 6;

const main = element("operations");
const contents = element("contents");

try {
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error();
  show(await response.json());
} catch {
  main.replaceChildren(node("p", { role: "alert" }, "Cannot load the reference. Reload the page."));
}

/** @param {OpenApi} openApi */
function show(openApi) {
  const { info, tags, paths } = openApi;
  element("about").textContent = `${info.title} ${info.version}. ${plain(info.description)}`;
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  );
  const groups = tags.map((tag) => ({
    tag,
    operations: operations.filter(({ operation }) => operation.tags.includes(tag.name)),
  }));
  contents.replaceChildren(
    ...groups.flatMap((group) => [
      node("h2", {}, group.tag.name),
      node("ul", {}, ...group.operations.map((each) => node("li", {}, linkTo(each)))),
    ]),
  );
  main.replaceChildren(
    ...groups.flatMap((group) =>
      group.operations.map((each) => article(each, openApi.components.schemas)),
    ),
  );
  // The browser looked for the fragment before the element existed.
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

/** @param {{ path: string, method: string, operation: Operation }} each */
function linkTo({ path, method, operation }) {
  return node(
    "a",
    { href: `#${operation.operationId}`, title: operation.summary },
    ...requestLine(method, path),
  );
}

/** @param {string} method @param {string} path */
function requestLine(method, path) {
  return [
    node("code", { class: "verb" }, method.toUpperCase()),
    " ",
    node("code", { class: "path" }, path),
  ];
}

/**
 * @param {{ path: string, method: string, operation: Operation }} each
 * @param {Record<string, Schema>} schemas
 */
function article({ path, method, operation }, schemas) {
  const media = operation.requestBody?.content[JSON_TYPE];
  return node(
    "article",
    { id: operation.operationId, "aria-labelledby": `${operation.operationId}-title` },
    node("h2", { id: `${operation.operationId}-title` }, operation.summary),
    node("p", {}, ...requestLine(method, path)),
    ...(operation.description === undefined
      ? []
      : [node("p", {}, ...prose(operation.description))]),
    ...authentication(operation),
    ...parameters(operation),
    ...(media === undefined ? [] : body(media, { path, method, operation }, schemas)),
    node("h3", {}, "Responses"),
    ...Object.entries(operation.responses).map(([status, response]) =>
      responseItem(status, response, schemas),
    ),
  );
}

/** @param {Operation} operation */
function authentication({ security = [] }) {
  if (security.some((each) => "adminKey" in each)) {
    return [
      node(
        "p",
        { class: "hint" },
        "Requires the admin key: ",
        node("code", {}, "Authorization: Bearer <ADMIN_KEY>"),
      ),
    ];
  }
  if (security.some((each) => "token" in each)) {
    return [
      node(
        "p",
        { class: "hint" },
        "Requires a token if ACCESS is token: ",
        node("code", {}, "Authorization: Bearer <token>"),
      ),
    ];
  }
  return [];
}

/** @param {Operation} operation */
function parameters({ parameters: all = [] }) {
  if (all.length === 0) return [];
  return [
    node("h3", {}, "Parameters"),
    node(
      "dl",
      { class: "fields" },
      ...all.flatMap(({ name, in: place, required, description, schema }) => [
        node("dt", {}, node("code", {}, name)),
        node(
          "dd",
          {},
          `${place}${required === true ? ", required" : ""}. `,
          ...prose(description ?? schema.description ?? ""),
        ),
      ]),
    ),
  ];
}

/**
 * @param {Media} media
 * @param {{ path: string, method: string, operation: Operation }} each
 * @param {Record<string, Schema>} schemas
 */
function body({ schema, examples = {} }, { path, method, operation }, schemas) {
  const headers = operation.security?.some((each) => "adminKey" in each)
    ? ' \\\n  -H "Authorization: Bearer $ADMIN_KEY"'
    : "";
  return [
    node("h3", {}, "Body"),
    ...(schema === undefined ? [] : [tree(schema, schemas)]),
    ...Object.entries(examples).map(([name, { summary, value }]) =>
      node(
        "details",
        {},
        node("summary", {}, summary ?? name),
        code(
          `curl -X ${method.toUpperCase()} '${location.origin}${path}'${headers} \\\n  -H 'Content-Type: application/json' \\\n  -d '${JSON.stringify(value).replaceAll("'", "'\\''")}'`,
        ),
      ),
    ),
  ];
}

/** @param {string} status @param {ApiResponse} response @param {Record<string, Schema>} schemas */
function responseItem(status, { description, headers = {}, content = {} }, schemas) {
  const schema = content[JSON_TYPE]?.schema;
  const isError = Number(status) >= 400;
  const types = Object.keys(content).filter((type) => type !== JSON_TYPE);
  return node(
    "details",
    {},
    node("summary", {}, node("code", {}, status), " ", ...prose(description)),
    ...(types.length === 0
      ? []
      : [node("p", {}, "Also available as ", node("code", {}, types.join(", ")))]),
    ...(schema === undefined || isError ? [] : [tree(schema, schemas)]),
    ...Object.values(content[JSON_TYPE]?.examples ?? {}).map(({ value }) =>
      code(JSON.stringify(value)),
    ),
    node(
      "dl",
      { class: "fields" },
      ...Object.entries(headers).flatMap(([name, header]) => [
        node("dt", {}, node("code", {}, name)),
        node("dd", {}, ...prose(header.description ?? "")),
      ]),
    ),
  );
}

/**
 * Returns a schema as a list of its fields.
 *
 * @param {Schema} schema
 * @param {Record<string, Schema>} schemas
 * @param {number} [depth]
 * @returns {HTMLElement}
 */
function tree(schema, schemas, depth = 0) {
  const { of, name } = resolved(schema, schemas);
  if (depth === MAX_DEPTH) return node("span", {}, name ?? "…");
  if (of.anyOf !== undefined) {
    return node(
      "div",
      {},
      ...(of.description === undefined
        ? []
        : [node("p", { class: "hint" }, ...prose(of.description))]),
      ...of.anyOf.map((each, index) =>
        node(
          "details",
          index === 0 && depth === 0 ? { open: "" } : {},
          node("summary", {}, resolved(each, schemas).name ?? kind(resolved(each, schemas).of)),
          tree(each, schemas, depth + 1),
        ),
      ),
    );
  }
  const inner = of.items === undefined ? of : resolved(of.items, schemas).of;
  if (inner.properties === undefined) return node("span", {}, kind(of));
  const required = new Set(inner.required);
  return node(
    "dl",
    { class: "fields" },
    ...Object.entries(inner.properties).flatMap(([field, value]) => {
      const { of: fieldSchema } = resolved(value, schemas);
      const nested =
        fieldSchema.items === undefined ? fieldSchema : resolved(fieldSchema.items, schemas).of;
      const isNested = nested.properties !== undefined || nested.anyOf !== undefined;
      return [
        node("dt", {}, node("code", {}, field)),
        node(
          "dd",
          {},
          [required.has(field) ? "required, " : "", kind(fieldSchema)].join(""),
          ...(fieldSchema.description === undefined
            ? []
            : [". ", ...prose(fieldSchema.description)]),
          ...(isNested ? [tree(nested, schemas, depth + 1)] : []),
        ),
      ];
    }),
  );
}

/** @param {Schema} schema @param {Record<string, Schema>} schemas */
function resolved(schema, schemas) {
  const name = schema.$ref?.split("/").at(-1);
  const of = name === undefined ? schema : (schemas[name] ?? {});
  return { of, name };
}

/** Describes the type and bounds of a value. @param {Schema} schema @returns {string} */
function kind(schema) {
  const { type, enum: values, items, minimum, maximum, maxLength, pattern } = schema;
  const words = [];
  if (values !== undefined) words.push(values.map((value) => JSON.stringify(value)).join(" | "));
  else if (items !== undefined) words.push("array");
  else words.push([type ?? "any"].flat().join(" or "));
  if (minimum !== undefined && maximum !== undefined) words.push(`${minimum} to ${maximum}`);
  if (maxLength !== undefined) words.push(`at most ${maxLength} characters`);
  if (pattern !== undefined) words.push(pattern);
  if (schema.default !== undefined) words.push(`default ${JSON.stringify(schema.default)}`);
  return words.join(", ");
}
