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

/**
 * Splits the arguments of a script that passes options on to another program.
 *
 * @param options those of the script itself
 * @returns their values, and all other arguments
 */
export function splitOptions<Options extends NonNullable<ParseArgsConfig["options"]>>(
  options: Options,
) {
  const config = { options, strict: false, allowPositionals: true, tokens: true } as const;
  const { values: own, tokens } = parseArgs(config);
  const indices = new Set(
    tokens.flatMap((token) => {
      if (token.kind !== "option" || !(token.name in options)) return [];
      const isSeparate = token.value !== undefined && !token.inlineValue;
      return isSeparate ? [token.index, token.index + 1] : [token.index];
    }),
  );
  const others = process.argv.slice(2).filter((_, index) => !indices.has(index));
  return { own, others };
}

/** Prints an error and exits with code 1. */
export function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
