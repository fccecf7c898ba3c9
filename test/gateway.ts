import { convertV4MiniflareOptions, Miniflare } from "miniflare";

/** The Worker on a socket of its own, as a client meets it. */
export interface Gateway {
  /** Without a slash at its end. */
  url: string;
  /** Everything that it has logged so far. */
  logs(): string;
  /** The KV namespace that it caches in. */
  cache: Awaited<ReturnType<Miniflare["getKVNamespace"]>>;
  close(): Promise<void>;
}

/** A key that stands out wherever it turns up. */
export const UPSTREAM_KEY = "sk-test-9f8e7d6c5b4a39281706";

/**
 * Starts the bundled Worker on Miniflare: no development proxy between it and its client.
 *
 * @param bindings vars and secrets on top of those that local development has; `undefined` unsets
 */
export async function startGateway(
  bundle: string,
  bindings: Record<string, string | undefined>,
): Promise<Gateway> {
  const lines: string[] = [];
  const vars: Record<string, string | undefined> = {
    UPSTREAM_API_KEY: UPSTREAM_KEY,
    LOCAL_DEVELOPMENT: "true",
    ...bindings,
  };
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      name: "darkroom",
      modules: true,
      modulesRoot: "/",
      scriptPath: bundle,
      compatibilityDate: "2026-10-23",
      kvNamespaces: ["CACHE"],
      bindings: Object.fromEntries(
        Object.entries(vars).filter((entry): entry is [string, string] => entry[1] !== undefined),
      ),
      host: "127.0.0.1",
      port: 0,
      cf: false,
      handleStructuredLogs: ({ message }) => lines.push(message),
    }),
  );
  const url = await miniflare.ready;
  return {
    url: url.origin,
    logs: () => lines.join("\n"),
    cache: await miniflare.getKVNamespace("CACHE"),
    close: () => miniflare.dispose(),
  };
}
