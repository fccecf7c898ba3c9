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
export const ADMIN_KEY = "admin-3e1f5a7c9b2d";
export const TOKEN_SECRET = "token-secret-5c7e9a1b3d5f7092846a";

/**
 * Starts the bundled Worker on Miniflare: no development proxy between it and its client.
 *
 * @param bindings vars and secrets on top of those that local development has; `undefined` unsets
 * @param directory where KV and the objects keep what they have; in memory where absent
 */
export async function startGateway(
  bundle: string,
  bindings: Record<string, string | undefined>,
  directory?: string,
): Promise<Gateway> {
  const lines: string[] = [];
  const vars: Record<string, string | undefined> = {
    UPSTREAM_API_KEY: UPSTREAM_KEY,
    ADMIN_KEY,
    TOKEN_SECRET,
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
      durableObjects: {
        GENERATION: { className: "Generation", useSQLite: true },
        IDEMPOTENCY: { className: "IdempotencyKey", useSQLite: true },
      },
      bindings: Object.fromEntries(
        Object.entries(vars).filter((entry): entry is [string, string] => entry[1] !== undefined),
      ),
      host: "127.0.0.1",
      port: 0,
      cf: false,
      ...(directory === undefined ? {} : { resourcePersistencePath: directory }),
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
