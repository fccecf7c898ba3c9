import * as z from "zod";
import { IMAGE_TYPES, mediaTypeOf } from "../lib/image-type.ts";
import { responseHeaders } from "./headers.ts";

const bytes = { schema: z.string().describe("The image's bytes.") };

/** The content of a response that is an image file, by media type. */
export const IMAGE_CONTENT = Object.fromEntries(
  IMAGE_TYPES.map((type) => [mediaTypeOf(type), bytes]),
);

/** The responses to a request for an image file with a range or a condition. */
export const PARTIAL_OR_NOT_MODIFIED = {
  206: { description: "The requested range.", headers: responseHeaders("content-range") },
  304: {
    description: "Not modified: the client's copy is current.",
    headers: responseHeaders("etag"),
  },
};
