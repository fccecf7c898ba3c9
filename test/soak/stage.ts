import { NO_FAULT, type Fault } from "./faults.ts";
import type { Account, Call, Model, Prompt } from "./journal.ts";
import type { Random } from "./random.ts";
import type { Form, ReadResult, Traffic } from "./traffic.ts";

/** The environment of a scenario. */
export interface Stage {
  /** The scenario's name, which is part of its accounts' names. */
  name: string;
  traffic: Traffic;
  random: Random;
  /** The origin of the receiver of webhooks. */
  receiver: string;
}

/** One client's requests to the gateway, from its token to its last response. */
export type Scenario = (stage: Stage) => Promise<Account>;

const DALL_E_FORMS: readonly [Form, ...Form[]] = ["base64", "url", "image", "async", "wait"];
const GPT_FORMS: readonly [Form, ...Form[]] = [
  "stream",
  "stream",
  "base64",
  "url",
  "image",
  "async",
];

/** Returns a model, most often the cheaper one. */
export function anyModel(random: Random): Model {
  return random.chance(0.8) ? "dall-e-2" : "gpt-image-1.5";
}

/** Returns a response form for a prompt. A response of type `image/*` holds only one image. */
export function anyForm({ account, n }: Prompt, random: Random): Form {
  const form = random.pick(account.model === "dall-e-2" ? DALL_E_FORMS : GPT_FORMS);
  return form === "image" && n > 1 ? "base64" : form;
}

/** Returns a form of a usable upstream response. */
export function anyFault(random: Random): Fault {
  return random.pick(NO_FAULT);
}

/** Returns the upstream call of the images in a result; `undefined` for an error. */
export function callOf(result: ReadResult | undefined): Call | undefined {
  return result?.kind === "images" ? result.calls[0] : undefined;
}
