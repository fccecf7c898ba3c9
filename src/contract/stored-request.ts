import type { ImageType } from "../lib/image-type.ts";
import { asRequested, type FurtherParameters, type ImageOptions } from "./image-spec.ts";
import { rulesOf, type ResponseFormat } from "./models.ts";
import type { ImageRequest } from "./request.ts";

/**
 * A request as it is stored and sent to Durable Objects: the form of version 0.1.0. Rows live for days,
 * a rollback reads them with the earlier code, and a deployment replaces busy objects up to 15 minutes
 * late. So the form never changes, whatever the types of a request become. Only optional fields are added.
 */
export interface StoredRequest {
  model: string;
  upstreamModel: string;
  retiredModel?: string;
  /** The two defaults that earlier versions read from their table of rules. This version ignores it. */
  rules?: { qualities: [string]; styles?: [string] };
  prompt: string;
  n: number;
  size: string;
  quality: string;
  style: string | undefined;
  options: StoredOptions | undefined;
  response_format: ResponseFormat;
  user: string | undefined;
  safety_identifier: string | undefined;
  /** Absent in rows of version 0.1.0, which ignores it. */
  further?: FurtherParameters;
}

interface StoredOptions {
  background: ImageOptions["background"];
  output_format: ImageType;
  output_compression: number;
  moderation: ImageOptions["moderation"];
  stream: boolean;
  partial_images: number;
}

/** Returns the stored form of a request. It does not contain `delivery.asImage`. */
export function toStoredRequest({ spec, upstream, delivery }: ImageRequest): StoredRequest {
  const { options, ...rest } = spec;
  const { stream, partialImages, user, safetyIdentifier } = upstream;
  const { qualities, styles } = rulesOf(asRequested(spec));
  return {
    ...rest,
    rules: {
      qualities: [qualities[0]],
      ...(styles === undefined ? {} : { styles: [styles[0]] }),
    },
    options: options && { ...options, stream, partial_images: partialImages },
    response_format: delivery.format,
    user,
    safety_identifier: safetyIdentifier,
  };
}

/** Returns the request in a stored form, by this version or an earlier one. */
export function fromStoredRequest(stored: StoredRequest): ImageRequest {
  const { rules: _, options, response_format, user, safety_identifier, ...rest } = stored;
  const { further = {} } = stored;
  const { stream = false, partial_images: partialImages = 0 } = options ?? {};
  return {
    spec: { ...rest, options: options && imageOptions(options), further },
    upstream: { stream, partialImages, user, safetyIdentifier: safety_identifier },
    delivery: { format: response_format, stream, asImage: false },
  };
}

function imageOptions({
  background,
  output_format,
  output_compression,
  moderation,
}: StoredOptions): ImageOptions {
  return { background, output_format, output_compression, moderation };
}
