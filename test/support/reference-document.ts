/**
 * Quotes from the reference document: its example request, and its JSON schema of the response.
 */

/** 请求体 → examples[0] */
export const EXAMPLE_BODY =
  '{\n    "size": "1024x1536",\n    "prompt": "a man walks",\n    "model": "gpt-image-1.5",\n    "n": 1\n}';

/** 参数 → header */
export const EXAMPLE_HEADERS = {
  "Content-Type": "application/json",
  Accept: "application/json",
  Authorization: "Bearer {{YOUR_API_KEY}}",
};

/** 响应 → jsonSchema */
export const RESPONSE_SCHEMA = {
  type: "object",
  properties: {
    id: { type: "string" },
    object: { type: "string" },
    created: { type: "integer" },
    choices: {
      type: "array",
      items: {
        type: "object",
        properties: {
          index: { type: "integer" },
          message: {
            type: "object",
            properties: { role: { type: "string" }, content: { type: "string" } },
            required: ["role", "content"],
          },
          finish_reason: { type: "string" },
        },
      },
    },
    usage: {
      type: "object",
      properties: {
        prompt_tokens: { type: "integer" },
        completion_tokens: { type: "integer" },
        total_tokens: { type: "integer" },
      },
      required: ["prompt_tokens", "completion_tokens", "total_tokens"],
    },
  },
  required: ["id", "object", "created", "choices", "usage"],
};
