import { signQuery } from "../src/access/signed-url.ts";
import { fail, optionsOf } from "./options.ts";
import { tokenSecrets } from "./token-secrets.ts";

const USAGE = `npm run sign-url -- --prompt "a man walks" [--ttl 3600] [--origin https://…]
                    [--model …] [--size …] [--quality …] [--background …] [--output_format …]
                    [--output_compression …] [--moderation …] [--complexity …]
                    [--frame_count …] [--frame_duration_ms …] [--style …] [--variant …]
                    [--parameter NAME=VALUE …]

--parameter is for a name of EXTRA_PARAMETERS, and for 'svg[model]' and 'svg[reasoning][effort]'.
Prints a signed URL of an image. The gateway generates the image on the first request. The URL
expires after --ttl seconds. Requires TOKEN_SECRET in the environment or .dev.vars.`;

const text = { type: "string" } as const;
const PARAMETERS = [
  "prompt",
  "model",
  "size",
  "quality",
  "background",
  "output_format",
  "output_compression",
  "moderation",
  "complexity",
  "frame_count",
  "frame_duration_ms",
  "style",
  "variant",
] as const;

const values = optionsOf(USAGE, {
  options: {
    ttl: { ...text, default: "3600" },
    origin: { ...text, default: "http://127.0.0.1:8787" },
    parameter: { ...text, multiple: true, default: [] },
    ...Object.fromEntries(PARAMETERS.map((name) => [name, text])),
  },
});
const { parameter: pairs, ...texts } = values;
const { ttl, origin, ...named } = texts as Record<string, string>;
const others = pairs.map((each) => /^([^=]+)=(.*)$/su.exec(each)?.slice(1) ?? fail(USAGE));
const parameters = { ...named, ...Object.fromEntries(others) };
const seconds = Number(ttl);
if (!("prompt" in parameters) || !(seconds > 0)) fail(USAGE);

const secret = tokenSecrets().at(0);
if (secret === undefined) fail("TOKEN_SECRET is not set. Add it to .dev.vars or the environment.");

const expires = Math.floor(Date.now() / 1000 + seconds);
const query = await signQuery(parameters, expires, secret);
console.log(`${origin}/v1/images/generations?${query}`);
