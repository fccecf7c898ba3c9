import type { ImageType } from "../lib/image-type.ts";
import type { BACKGROUNDS, COMPLEXITIES, MODERATIONS, SVG_EFFORTS } from "./models.ts";

/** The images to generate, in the API's own names. It decides the cache key. */
export interface ImageSpec {
  /** The model that the client requests. */
  readonly model: string;
  /** The model that the upstream is sent: the same, its alias, or a retired model's successor. */
  readonly upstreamModel: string;
  /** The model that `upstreamModel` replaces because OpenAI has shut it down; absent if none. */
  readonly retiredModel?: string;
  readonly prompt: string;
  readonly n: number;
  readonly size: string;
  readonly quality: string;
  /** dall-e-3 only. */
  readonly style: string | undefined;
  /** GPT image models only; `undefined` for the others. */
  readonly options: ImageOptions | undefined;
  readonly further: FurtherParameters;
}

/** The parameters that only GPT image models accept and that change the image. */
export interface ImageOptions {
  readonly background: (typeof BACKGROUNDS)[number];
  readonly output_format: ImageType;
  /** 0..100. */
  readonly output_compression: number;
  readonly moderation: (typeof MODERATIONS)[number];
}

/**
 * The parameters that version 0.1.0 does not have. A default is absent. They are the last element of the
 * cache key, unless all are absent. So a request without them has the key that it had in version 0.1.0.
 */
export interface FurtherParameters {
  readonly complexity?: (typeof COMPLEXITIES)[number] | undefined;
  readonly frame_count?: number | undefined;
  /** Milliseconds. */
  readonly frame_duration_ms?: number | undefined;
  readonly svg?: SvgAuthor | undefined;
  /** 1..9999. It only distinguishes requests, and is never sent upstream. */
  readonly variant?: number | undefined;
  /** The parameters that `EXTRA_PARAMETERS` names: strings, numbers and booleans. */
  readonly [extra: string]: unknown;
}

/** The model that writes an SVG. What the client omits, the upstream decides. */
export interface SvgAuthor {
  readonly model?: string | undefined;
  readonly reasoning?: { readonly effort: (typeof SVG_EFFORTS)[number] } | undefined;
}

/** Returns a spec as it was before a successor replaced its model: the form that is stored. */
export function asRequested<Spec extends Pick<ImageSpec, "upstreamModel" | "retiredModel">>({
  retiredModel,
  ...spec
}: Spec): Omit<Spec, "retiredModel"> {
  return retiredModel === undefined ? spec : { ...spec, upstreamModel: retiredModel };
}
