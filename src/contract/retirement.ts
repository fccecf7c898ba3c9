import { isGptImage, knownModel } from "./models.ts";

/** The values of the variable `RETIRED_MODELS`. */
export const RETIRED_MODELS = ["auto", "replace", "keep"] as const;

/** The configuration that decides whether a model that OpenAI has shut down is replaced. */
export interface RetirementPolicy {
  /**
   * `replace`: send the successor, whatever the upstream is. `keep`: send the model that the client
   * requests. `auto`: replace if the upstream is OpenAI, keep otherwise.
   */
  retiredModels: (typeof RETIRED_MODELS)[number];
  /** True if the upstream is OpenAI's own host. */
  isOpenAi: boolean;
}

/** A model as a client names it. */
export interface NamedModel {
  id: string;
  /** True if `MODEL_ALIASES` sets the model that the upstream is sent. An alias is never replaced. */
  isAlias: boolean;
}

/** OpenAI's announcement about a model that it has shut down or will shut down. */
export interface Retirement {
  /** YYYY-MM-DD; the model is gone from 00:00 UTC on. */
  shutdown: string;
  /** The id of the model that OpenAI recommends in its place. */
  successor: string;
}

const OPENAI_HOST = "api.openai.com";

/** Returns true if a URL leads to OpenAI's own API: `api.openai.com` or a subdomain, such as `eu.`. */
export function isOpenAiUrl({ hostname }: URL): boolean {
  // A dot at the end is the DNS root: the same host.
  const host = hostname.replace(/\.$/, "");
  return host === OPENAI_HOST || host.endsWith(`.${OPENAI_HOST}`);
}

/**
 * Returns the retirement of a model that is replaced from its shutdown day on; `undefined` for another.
 *
 * The successor of a GPT image model accepts every request that the model accepts. dall-e models have
 * other parameters, so nothing replaces them.
 */
export function replacementOf(
  { id, isAlias }: NamedModel,
  { retiredModels, isOpenAi }: RetirementPolicy,
): Retirement | undefined {
  const replaces = retiredModels === "replace" || (retiredModels === "auto" && isOpenAi);
  return replaces && !isAlias && isGptImage({ model: id, upstreamModel: id })
    ? retirementOf(id)
    : undefined;
}

/**
 * Returns the id of the model to send upstream in place of one that OpenAI has shut down; `undefined`
 * if the model itself is sent.
 *
 * @param nowMs milliseconds since the epoch
 */
export function successorAt(
  model: NamedModel,
  policy: RetirementPolicy,
  nowMs: number,
): string | undefined {
  const replacement = replacementOf(model, policy);
  return replacement !== undefined && isShutDown(replacement, nowMs)
    ? replacement.successor
    : undefined;
}

/**
 * Returns the retirement of a model that is no longer served: OpenAI has shut it down, OpenAI is the
 * upstream, and nothing replaces it. `undefined` for every other model.
 *
 * @param nowMs milliseconds since the epoch
 */
export function withdrawalAt(
  { id, isAlias }: NamedModel,
  { retiredModels, isOpenAi }: RetirementPolicy,
  nowMs: number,
): Retirement | undefined {
  if (
    !isOpenAi ||
    retiredModels === "keep" ||
    isAlias ||
    isGptImage({ model: id, upstreamModel: id })
  )
    return undefined;
  const retirement = retirementOf(id);
  return retirement !== undefined && isShutDown(retirement, nowMs) ? retirement : undefined;
}

/** Returns the shutdown day of a model and its successor; `undefined` if none is announced. */
export function retirementOf(id: string): Retirement | undefined {
  const { shutdown, successor } = knownModel(id) ?? { shutdown: null, successor: null };
  return shutdown === null || successor === null ? undefined : { shutdown, successor };
}

/** Returns the milliseconds that have passed since a shutdown; negative before it. */
export function msSinceShutdown({ shutdown }: Retirement, nowMs: number): number {
  return nowMs - Date.parse(shutdown);
}

/** Returns true from the shutdown on. */
export function isShutDown(retirement: Retirement, nowMs: number): boolean {
  return msSinceShutdown(retirement, nowMs) >= 0;
}
