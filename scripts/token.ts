import {
  mintToken,
  subjectSchema,
  TOKEN_MAX_SECONDS,
  tokenLimitsSchema,
} from "../src/access/token.ts";
import { DAY_SECONDS } from "../src/lib/clock.ts";
import { fail, optionsOf } from "./options.ts";
import { tokenSecrets } from "./token-secrets.ts";

const USAGE = `npm run token -- --sub web [--days 30] [--origin https://…] [--model …] [--quality …]
                 [--max-n 1] [--budget-usd 10] [--scope webhook]

Prints an access token for the subject --sub. It expires after --days days. Repeat --origin, --model
or --quality to allow several. A token with --scope webhook is valid only in the URL of an incoming
webhook. Requires TOKEN_SECRET in the environment or .dev.vars.`;

const many = { type: "string", multiple: true } as const;
const values = optionsOf(USAGE, {
  options: {
    sub: { type: "string" },
    days: { type: "string", default: "30" },
    origin: many,
    model: many,
    quality: many,
    "max-n": { type: "string" },
    "budget-usd": { type: "string" },
    scope: { type: "string" },
  },
});

const ttlSeconds = Math.floor(Number(values.days) * DAY_SECONDS);
const sub = subjectSchema.safeParse(values.sub);
const limits = tokenLimitsSchema.safeParse({
  origins: values.origin,
  models: values.model,
  qualities: values.quality,
  max_n: numberOf(values["max-n"]),
  budget_usd: numberOf(values["budget-usd"]),
  scope: values.scope,
});
if (!sub.success || !limits.success || !(ttlSeconds >= 1 && ttlSeconds <= TOKEN_MAX_SECONDS)) {
  fail(USAGE);
}
const secrets = tokenSecrets();
if (secrets.length === 0) fail("TOKEN_SECRET is not set. Add it to .dev.vars or the environment.");

const nowSeconds = Math.floor(Date.now() / 1000);
const { token, claims } = await mintToken(secrets, {
  sub: sub.data,
  ttlSeconds,
  nowSeconds,
  limits: limits.data,
});
console.log(token);
console.error(`${claims.jti}, expires ${new Date(claims.exp * 1000).toISOString()}`);

function numberOf(value: string | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}
