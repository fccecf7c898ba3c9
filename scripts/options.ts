import { parseArgs, type ParseArgsConfig } from "node:util";

/** The options of a script; what is none of them says how it is used, and ends it. */
export function optionsOf<Config extends ParseArgsConfig>(
  usage: string,
  config: Config,
): ReturnType<typeof parseArgs<Config>>["values"] {
  try {
    return parseArgs(config).values;
  } catch {
    return fail(usage);
  }
}

/** Says what is wrong, and ends the script. */
export function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
