import * as z from "zod";
import type { ListedModel } from "../contract/model-list.ts";
import { errorResponses } from "./errors.ts";
import type { ImageExamples } from "./examples.ts";
import { exactly } from "./exactly.ts";
import { responseHeaders } from "./headers.ts";
import { jsonContent, type Route } from "./route.ts";

const TAGS = ["About"];

const sizes = z.union([
  z.object({ kind: z.literal("listed"), sizes: z.array(z.string()) }),
  z.object({
    kind: z.literal("free"),
    multiple_of: z.int(),
    min_edge: z.int(),
    max_edge: z.int(),
    max_aspect_ratio: z.int(),
    min_pixels: z.int(),
    max_pixels: z.int(),
  }),
]);

const price = z.union([
  z
    .object({ text_in: z.number(), image_in: z.number(), image_out: z.number() })
    .describe("USD per million tokens."),
  z.object({ per_image: z.number() }).describe("USD per image of the default size and quality."),
]);

const model = exactly<ListedModel>()(
  z.object({
    id: z.string(),
    object: z.literal("model"),
    created: z.int().describe("The release, in Unix seconds; 0 if unknown."),
    owned_by: z.string(),
    shutdown_date: z
      .string()
      .nullable()
      .describe("The day on which OpenAI shuts the model down, at 00:00 UTC."),
    replaced_by: z
      .string()
      .nullable()
      .describe("The model that is sent upstream in its place from that day on; null if none is."),
    default: z.boolean().describe("True if a request without `model` gets this one."),
    prompt_max_chars: z.int(),
    max_images: z.int(),
    sizes,
    default_size: z.string(),
    qualities: z.array(z.string()),
    quality_pattern: z
      .string()
      .nullable()
      .describe(
        "The regular expression of further values of `quality`; null if the list is complete.",
      ),
    styles: z.array(z.string()),
    backgrounds: z.array(z.string()),
    output_formats: z.array(z.string()),
    moderations: z.array(z.string()),
    complexities: z.array(z.string()),
    max_frames: z
      .int()
      .describe("The largest number of frames of a GIF; 0 if the model generates none."),
    svg_models: z
      .array(z.string())
      .describe("The models that may write an SVG; empty if the model generates none."),
    max_partial_images: z.int(),
    response_formats: z.array(z.string()),
    default_response_format: z.string(),
    price,
  }),
).meta({ id: "Model" });

const modelList = z
  .object({ object: z.literal("list"), data: z.array(model) })
  .meta({ id: "ModelList" });

/** `GET /v1/models`. */
export const listModels: Route = {
  method: "get",
  path: "/v1/models",
  operationId: "listModels",
  summary: "List the served models with their parameters and prices",
  tags: TAGS,
  security: [],
  responses: {
    200: {
      description: "The models.",
      headers: responseHeaders(),
      content: jsonContent(modelList),
    },
    ...errorResponses(),
  },
};

/** `GET /v1/models/{id}`. */
export const getModel = ({ model: example }: ImageExamples): Route => ({
  method: "get",
  path: "/v1/models/{id}",
  operationId: "getModel",
  summary: "Get a model with its parameters and price",
  tags: TAGS,
  security: [],
  request: { params: z.object({ id: z.string().meta({ example }) }) },
  responses: {
    200: {
      description: "The model.",
      headers: responseHeaders(),
      content: jsonContent(model),
    },
    ...errorResponses("model_not_found"),
  },
});
