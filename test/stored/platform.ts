import { unstable_readConfig } from "wrangler";

/** The names under which the platform stores a deployment's data. */
interface Platform {
  name: string;
  /** KV namespaces by binding. */
  kv: Record<string, object>;
  /** Durable Object classes by binding. */
  objects: Record<string, string>;
  /** Classes by the tag of the migration that creates them. */
  migrations: Record<string, string[]>;
  /** Name and class by binding. */
  workflows: Record<string, { name: string; className: string }>;
}

/** The parts of wrangler's configuration that are read here. */
interface WranglerConfig {
  name?: string;
  kv_namespaces: { binding: string }[];
  durable_objects: { bindings: { name: string; class_name: string }[] };
  migrations: { tag: string; new_sqlite_classes?: string[] }[];
  workflows: { name: string; binding: string; class_name: string }[];
}

/** Returns the names in a wrangler.toml, of the deployment and of its staging environment. */
export function platformOf(config: string): Record<"production" | "staging", Platform> {
  return {
    production: namesIn(unstable_readConfig({ config }) as WranglerConfig),
    staging: namesIn(unstable_readConfig({ config, env: "staging" }) as WranglerConfig),
  };
}

function namesIn(config: WranglerConfig): Platform {
  const { bindings } = config.durable_objects;
  return {
    name: String(config.name),
    kv: Object.fromEntries(config.kv_namespaces.map(({ binding }) => [binding, {}])),
    objects: Object.fromEntries(bindings.map((each) => [each.name, each.class_name])),
    migrations: Object.fromEntries(
      config.migrations.map((each) => [each.tag, each.new_sqlite_classes ?? []]),
    ),
    workflows: Object.fromEntries(
      config.workflows.map((each) => [
        each.binding,
        { name: each.name, className: each.class_name },
      ]),
    ),
  };
}
