import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { missingTables, withErrorTables } from "../../scripts/error-tables.ts";
import { BINDINGS, SECRETS, VARIABLES } from "../../src/config/environment.ts";
import { root } from "../support/root.ts";

const MAX_DELAY_SECONDS = 900;
const MAX_TIMEOUT_SECONDS = 600;

function text(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

const documents = globSync("**/*.md", { cwd: root, exclude: ["node_modules/**", ".wrangler/**"] });

/** Returns the anchor that GitHub gives a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}

function anchorsIn(document: string): string[] {
  return [...text(document).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    anchorOf(String(heading)),
  );
}

describe("the Markdown documents", () => {
  it.each(documents)("link only to existing files and headings: %s", (document) => {
    const links = [...text(document).matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, link]) => String(link))
      .filter((link) => !/^[a-z]+:/.test(link));
    for (const link of links) {
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? document : join(dirname(document), path);
      expect([link, existsSync(join(root, target))]).toEqual([link, true]);
      if (anchor !== undefined) expect(anchorsIn(target)).toContain(anchor);
    }
  });

  it("list every variable in docs/variables.md", () => {
    const table = text("docs/variables.md");
    expect(VARIABLES.filter((name) => !table.includes(`\`${name}\``))).toEqual([]);
  });

  it("list every error with its status in docs/errors.md", () => {
    const committed = text("docs/errors.md");
    expect(missingTables(committed), "docs/errors.md has no place for these tables").toEqual([]);
    expect(
      committed,
      "docs/errors.md is not current. Run `npm run docs:errors` and commit the result.",
    ).toBe(withErrorTables(committed));
  });
});

describe("a deployment from a fresh clone", () => {
  const wrangler = text("wrangler.toml");

  it.each([...BINDINGS])("binds %s, in production and in staging", (name) => {
    const binding = new RegExp(`(?:name|binding) = "${name}"`, "g");
    expect(wrangler.match(binding)).toHaveLength(2);
  });

  it("waits up to 15 minutes for Durable Objects before it replaces their code, in staging too", () => {
    const strategy = (table: string) =>
      `[${table}]\nmode = "deferred"\nmax_delay = ${MAX_DELAY_SECONDS}\n`;
    const { env = "", top = "" } =
      /^(?<top>[\s\S]*?)(?<env>\[env\.staging\][\s\S]*)$/.exec(wrangler)?.groups ?? {};
    expect(top).toContain(strategy("durable_objects.code_update_strategy"));
    expect(env).toContain(strategy("env.staging.durable_objects.code_update_strategy"));
    // The delay must cover the longest configurable generation and its copies to KV.
    expect(MAX_DELAY_SECONDS).toBeGreaterThan(MAX_TIMEOUT_SECONDS);
  });

  it.each([...SECRETS])(
    "documents the secret %s in .dev.vars.example, package.json and SECURITY.md",
    (name) => {
      expect(text(".dev.vars.example")).toMatch(new RegExp(`^${name}=$`, "m"));
      const { cloudflare } = JSON.parse(text("package.json")) as {
        cloudflare: { bindings: Record<string, { description: string }> };
      };
      expect(cloudflare.bindings[name]?.description.length).toBeGreaterThan(20);
      expect(text("SECURITY.md")).toContain(`\`${name}\``);
    },
  );
});
