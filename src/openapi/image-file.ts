import * as z from "zod";
import { IMAGE_TYPES, mediaTypeOf } from "../lib/image-type.ts";
import { responseHeaders } from "./headers.ts";

const bytes = { schema: z.string().describe("The image's bytes.") };

/** The content of a response that is an image file, by media type. */
export const IMAGE_CONTENT = Object.fromEntries(
  IMAGE_TYPES.map((type) => [mediaTypeOf(type), bytes]),
);

/**
 * Returns the responses of a URL of an image file: the whole, a range of it, or 304.
 *
 * @param names of their headers, beyond those of every image file
 */
export function fileResponses(...names: readonly string[]) {
  const headers = ["cache-control", "etag", "accept-ranges", "content-disposition", ...names];
  return {
    200: {
      description: "The image.",
      headers: responseHeaders(...headers),
      content: IMAGE_CONTENT,
    },
    206: {
      description: "The requested range.",
      headers: responseHeaders(...headers, "content-range"),
      content: IMAGE_CONTENT,
    },
    304: {
      description: "Not modified: the client's copy is current.",
      headers: responseHeaders(...headers),
    },
  };
}
