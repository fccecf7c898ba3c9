import type { ServerResponse } from "node:http";
import { HTML } from "./html.ts";
import type { ImageRequest, ReceivedRequest } from "./request.ts";
import { sendJson } from "./send.ts";

/** A response to a request that a server rejects. */
export interface ErrorResponse {
  status: number;
  /** Serialised as JSON. */
  body: unknown;
}

/** OpenAI's limit, in characters. */
const MAX_IDENTIFIER_LENGTH = 64;

/** Returns OpenAI's form of an error. */
export function envelope(message: string, code: string, param: string | null = null) {
  const error: Record<string, unknown> = {
    message,
    type: "invalid_request_error",
    param,
    code,
  };
  return { error };
}

/** Returns the error with which OpenAI rejects a request, or that a directive requests. */
export function openAiError(request: ImageRequest): ErrorResponse | undefined {
  return tooLongIdentifier(request) ?? rejectedParameter(request) ?? blockedIdentifier(request);
}

function tooLongIdentifier({ body }: ImageRequest): ErrorResponse | undefined {
  for (const param of ["safety_identifier", "user"]) {
    const value = body[param];
    if (typeof value === "string" && Array.from(value).length > MAX_IDENTIFIER_LENGTH) {
      const message = `'${param}' must have at most ${MAX_IDENTIFIER_LENGTH} characters.`;
      return { status: 400, body: envelope(message, "string_above_max_length", param) };
    }
  }
  return undefined;
}

function rejectedParameter({ body, directives }: ImageRequest): ErrorResponse | undefined {
  const param = directives.get("reject");
  if (param === undefined || !Object.hasOwn(body, param)) return undefined;
  const message = `A directive of the prompt rejects the parameter '${param}'.`;
  return { status: 400, body: envelope(message, "invalid_value", param) };
}

function blockedIdentifier({ directives, identifier }: ImageRequest): ErrorResponse | undefined {
  const blocked = directives.get("block");
  if (blocked === undefined || blocked !== identifier) return undefined;
  return { status: 400, body: moderationBlock("A directive of the prompt blocks the identifier.") };
}

function moderationBlock(message: string) {
  const body = envelope(message, "moderation_blocked");
  body.error["moderation_details"] = { moderation_stage: "input", categories: ["violence"] };
  return body;
}

/** Sends the error that the directives `status` and `error` request. */
export function sendRequestedError(
  response: ServerResponse,
  status: number,
  { directives, prompt }: ImageRequest,
  received: ReceivedRequest,
): void {
  const retryAfter = directives.get("retry-after");
  if (retryAfter !== undefined) response.setHeader("retry-after", retryAfter);
  const code = directives.get("code") ?? "some_code";
  const message = "A directive of the prompt caused this error.";
  switch (directives.get("error")) {
    case "string":
      sendJson(response, status, { error: message });
      return;
    case "text":
      response.writeHead(status, { "content-type": "text/plain" }).end(message);
      return;
    case "html":
      response.writeHead(status, { "content-type": "text/html" }).end(HTML);
      return;
    case "echo": {
      const key = received.headers.authorization;
      sendJson(response, status, envelope(`Incorrect key ${key} for the prompt ${prompt}`, code));
      return;
    }
    default: {
      const isBlock = code === "moderation_blocked";
      sendJson(response, status, isBlock ? moderationBlock(message) : envelope(message, code));
    }
  }
}
