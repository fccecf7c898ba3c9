import { parseArgs, type ParseArgsConfig } from "node:util";

/** Parses the options of a script. Prints the usage and exits on an unknown option. */
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

/** Prints an error and exits with code 1. */
export function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
