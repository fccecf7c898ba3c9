import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { platformOf } from "../stored/platform.ts";
import { root } from "../support/root.ts";

it.each(globSync("test/stored/*/platform.json", { cwd: root }))(
  "wrangler.toml keeps every class, binding, migration and Workflow of %s",
  (path) => {
    const released: unknown = JSON.parse(readFileSync(join(root, path), "utf8"));
    // New ones may be added. A deployed migration never changes.
    expect(platformOf(join(root, "wrangler.toml"))).toMatchObject(Object(released));
  },
);
