import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Webhook } from "standardwebhooks";
import { signQuery } from "../../src/access/signed-url.ts";
import { mintToken } from "../../src/access/token.ts";
import type { Code } from "../../src/errors/wire/row.ts";
import { ROWS } from "../../src/errors/wire/rows.ts";
import { exampleOf } from "../../src/errors/wire.ts";
import { eventually } from "../support/eventually.ts";
import { ADMIN_KEY, WEBHOOK_SECRET } from "../support/gateway.ts";
import { startSiteverify } from "../support/siteverify.ts";
import { startStage } from "../support/stage.ts";
import { TOKEN_SECRET } from "../support/vars.ts";

interface Media {
  schema?: object;
  examples?: Record<string, { value: unknown }>;
}

interface Operation {
  operationId: string;
  parameters?: { name: string; in: string; required?: boolean }[];
  requestBody?: { content: Record<string, Media> };
  responses: Record<string, { headers?: Record<string, object>; content?: Record<string, Media> }>;
}

interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
}

const siteverify = await startSiteverify();
const stage = startStage({
  TURNSTILE_SECRET: "1x0000000000000000000000000000000AA",
  TURNSTILE_VERIFY_URL: siteverify.url,
});
let document: Document;
const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });

beforeAll(async () => {
  document = (await (await fetch(`${stage.gateway.url}/openapi.json`)).json()) as Document;
  ajv.addSchema(document, "document");
});
afterAll(() => siteverify.close());

function operations() {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  );
}

function operationOf(operationId: string) {
  const found = operations().find(({ operation }) => operation.operationId === operationId);
  if (found === undefined) return expect.fail(`no operation ${operationId}`);
  return found;
}

/** Returns how a response differs from the document; `undefined` if it matches. */
async function problemsOf(
  { path, method, operation }: ReturnType<typeof operations>[number],
  response: Response,
): Promise<unknown> {
  const described = operation.responses[String(response.status)];
  if (described === undefined) return `${response.status} is not described`;
  const undescribed = [...response.headers.keys()].filter(
    (name) => !(name in (described.headers ?? {})) && !COMMON_HEADER.test(name),
  );
  if (undescribed.length > 0) return `headers that are not described: ${undescribed.join()}`;
  const type = response.headers.get("content-type")?.split(";")[0];
  if (type === undefined) return undefined;
  if (!(type in (described.content ?? {}))) return `${type} is not described`;
  if (type !== "application/json") return undefined;
  const body = (await response.json()) as { error?: { code: string } };
  if (body.error !== undefined && !codesOf(described).includes(body.error.code)) {
    return `the error ${body.error.code} is not described`;
  }
  const pointer = ["paths", path, method, "responses", response.status, "content", type, "schema"];
  const validate = ajv.compile({ $ref: `document#/${pointer.map(escaped).join("/")}` });
  return validate(body) ? undefined : validate.errors;
}

/** Returns the codes of the errors that a response may have. */
function codesOf({ content }: Operation["responses"][string]): string[] {
  const examples = Object.values(content?.["application/json"]?.examples ?? {});
  return examples.map(({ value }) => (value as { error: { code: string } }).error.code);
}

/** Headers of HTTP, of browser security and of CORS. The document does not list them. */
const COMMON_HEADER =
  /^(?:content-(?:type|length|encoding|security-policy)|connection|keep-alive|date|transfer-encoding|vary|access-control-.*|strict-transport-security|referrer-policy|x-(?:content-type|frame)-options|cross-origin-.*)$/;

function escaped(part: string | number): string {
  return encodeURIComponent(String(part).replaceAll("~", "~0").replaceAll("/", "~1"));
}

/** Returns the headers that an operation requires for a body. */
async function headersFor(operationId: string, body: string): Promise<Record<string, string>> {
  const json = { "content-type": "application/json" };
  if (operationId === "createToken" && body.includes('"sub"')) {
    return { ...json, authorization: `Bearer ${ADMIN_KEY}` };
  }
  if (operationId !== "submitBySignedWebhook") return json;
  const now = new Date();
  const id = crypto.randomUUID();
  return {
    ...json,
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
    "webhook-signature": new Webhook(WEBHOOK_SECRET).sign(id, now, body),
  };
}

async function webhookToken(): Promise<string> {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const limits = { scope: "webhook" as const };
  return (await mintToken([TOKEN_SECRET], { sub: "a", ttlSeconds: 60, nowSeconds, limits })).token;
}

describe("GET /openapi.json", () => {
  it("is valid OpenAPI 3.1", async () => {
    const { valid, errors } = await new Validator().validate({ ...structuredClone(document) });
    expect(errors).toBeUndefined();
    expect(valid).toBe(true);
    expect(document.openapi).toBe("3.1.0");
  });

  it("contains every error", () => {
    const described = new Set(
      operations().flatMap(({ operation }) =>
        Object.entries(operation.responses).flatMap(([status, response]) =>
          codesOf(response).map((code) => `${status} ${code}`),
        ),
      ),
    );
    const all = (Object.keys(ROWS) as Code[])
      .map((code) => exampleOf(code))
      .map(({ status, body }) => `${status} ${body.error.code}`)
      // The description documents the 404 of an unknown path.
      .filter((name) => name !== "404 not_found");
    expect(all.filter((name) => !described.has(name))).toEqual([]);
  });

  it("describes the response to each of its example requests", async () => {
    const token = await webhookToken();
    let sent = 0;
    for (const each of operations()) {
      const { path, method, operation } = each;
      const examples = operation.requestBody?.content["application/json"]?.examples ?? {};
      for (const [name, { value }] of Object.entries(examples)) {
        const json = JSON.stringify(value);
        const body = name === "visitor" ? json.replace("of-the-widget", "good-1") : json;
        const response = await fetch(stage.gateway.url + path.replace("{token}", token), {
          method: method.toUpperCase(),
          headers: await headersFor(operation.operationId, body),
          body,
        });
        expect([path, name, response.status, await problemsOf(each, response)]).toEqual([
          path,
          name,
          expect.toBeOneOf([200, 201, 202]),
          undefined,
        ]);
        sent += 1;
      }
    }
    expect(sent).toBeGreaterThan(10);
  });

  it("describes the error response to each invalid body", async () => {
    for (const each of operations().filter(
      ({ operation }) => operation.requestBody !== undefined,
    )) {
      const url = stage.gateway.url + each.path.replace("{token}", await webhookToken());
      for (const body of ["{", "[]", '{"nonsense":1}']) {
        const headers = await headersFor(each.operation.operationId, body);
        const response = await fetch(url, { method: each.method.toUpperCase(), headers, body });
        expect([each.path, body, await problemsOf(each, response)]).toEqual([
          each.path,
          body,
          undefined,
        ]);
      }
      const response = await fetch(url, { method: each.method.toUpperCase(), body: "a" });
      expect([each.path, await problemsOf(each, response)]).toEqual([each.path, undefined]);
    }
  });

  it.each([
    { to: "an image", status: 200 },
    { to: "a range of an image", status: 206, headers: { range: "bytes=0-9" } },
    { to: "a known image", status: 304, headers: { "if-none-match": "*" } },
    { to: "a range outside an image", status: 416, headers: { range: "bytes=99999999-" } },
    { to: "a stream of two images", status: 400, parameters: { n: "2", stream: "true" } },
    { to: "frames of a PNG", status: 400, parameters: { frame_count: "4" } },
    { to: "an unknown model", status: 400, parameters: { model: "midjourney" } },
    { to: "two images", status: 406, parameters: { n: "2" } },
  ])("describes the response to a signed URL of $to", async (each) => {
    const expires = Math.floor(Date.now() / 1000) + 60;
    const parameters = { prompt: "a man walks", model: "gpt-image-2.6-flare", ...each.parameters };
    const query = await signQuery(parameters, expires, TOKEN_SECRET);
    const response = await fetch(`${stage.gateway.url}/v1/images/generations?${query}`, {
      headers: { ...each.headers },
    });
    const problems = await problemsOf(operationOf("getSignedImage"), response);
    expect([response.status, problems]).toEqual([each.status, undefined]);
  });

  it("describes the response to a request that does not wait", async () => {
    const prompt = crypto.randomUUID();
    const response = await stage.post({ prompt }, { prefer: "respond-async" });
    const problems = await problemsOf(operationOf("createImage"), response);
    expect([response.status, problems]).toEqual([202, undefined]);
  });

  it("describes the responses of every operation without a body", async () => {
    const generated = await stage.post({ prompt: "a man walks", response_format: "url" });
    const { id } = (await generated.json()) as { id: string };
    const job = await stage.post(
      { prompt: "a man walks", webhook_url: "http://127.0.0.1:9/" },
      { prefer: "respond-async" },
    );
    const { id: jobId } = (await job.json()) as { id: string };
    const batch = await fetch(`${stage.gateway.url}/v1/images/batches`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ requests: [{ custom_id: "a", body: { prompt: "a man walks" } }] }),
    });
    const { id: batchId } = (await batch.json()) as { id: string };
    const ids: Record<string, string[]> = {
      getGeneration: [id, jobId, "gen_none"],
      getImage: [id, "gen_none"],
      getBatch: [batchId, "batch_none"],
      getModel: ["gpt-image-2", "none"],
      deleteGeneration: [id, id, jobId],
      cancelBatch: [batchId, "batch_none"],
    };
    await eventually(async () => {
      const { keys } = await stage.gateway.cache.list({ prefix: `generation/${id}` });
      expect(keys).toHaveLength(1);
    });
    const withoutBody = operations().filter(({ operation }) => operation.requestBody === undefined);
    // Deletions run last.
    const inOrder = withoutBody.toSorted(
      (a, b) => Number(a.method === "delete") - Number(b.method === "delete"),
    );
    for (const each of inOrder) {
      const { path, method, operation } = each;
      for (const value of ids[operation.operationId] ?? ["none"]) {
        const to = path.replace("{id}", value).replace("{file}", "0.png").replace("{jti}", "tok_1");
        const query = operation.operationId === "revokeTokensOfSubject" ? "?sub=unknown" : "";
        for (const authorization of [`Bearer ${ADMIN_KEY}`, undefined]) {
          const response = await fetch(stage.gateway.url + to + query, {
            method: method.toUpperCase(),
            headers: authorization === undefined ? {} : { authorization },
          });
          expect([to, response.status, await problemsOf(each, response)]).toEqual([
            to,
            response.status,
            undefined,
          ]);
        }
      }
    }
  });
});
