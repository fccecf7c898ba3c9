import { readdirSync } from "node:fs";
import { defineConfig, type OxlintOverride } from "oxlint";

/**
 * The folders of src, from the lowest to the highest. A folder may import only lower ones. Folders on the
 * same step may not import each other, so no circle of folders is possible.
 */
const LADDER = [
  ["lib"],
  ["errors"],
  ["contract"],
  ["config"],
  ["cache", "upstream", "access", "telemetry"],
  ["generation"],
  ["respond"],
  ["jobs"],
  ["openapi", "diagnostics"],
  ["http"],
  ["middleware", "routes"],
];

/** The page is JavaScript for browsers, apart from the Worker. */
const OUTSIDE = ["web"];

/** The folders that may import Hono. */
const ON_HONO = ["http", "middleware", "routes"];

const TEST = { group: ["**/test/**"], message: "src must not import test." };

const rankless = readdirSync(`${import.meta.dirname}/src`, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && ![...LADDER.flat(), ...OUTSIDE].includes(entry.name))
  .map((entry) => entry.name);
if (rankless.length > 0) throw new Error(`LADDER does not have src/${rankless.join(", src/")}.`);

/** Returns the rule of a folder: the imports that point up or to the side. */
function importsOf(folder: string, rank: number): OxlintOverride {
  const lower = LADDER.slice(0, rank).flat();
  const others = LADDER.slice(rank).flat();
  const hono = ON_HONO.includes(folder) ? [] : ["hono", "hono/*"];
  // A library for tokens, without the router.
  const jwt = folder === "access" ? ["!hono/jwt"] : [];
  return {
    files: [`src/${folder}/**`],
    rules: {
      "no-restricted-imports": [
        "error",
        {
          patterns: [
            TEST,
            {
              group: [...others.map((other) => `**/${other}/**`), "**/app.ts", "**/index.ts"],
              message: `src/${folder} may import only itself and ${lower.join(", ") || "libraries"}.`,
            },
            ...(hono.length === 0
              ? []
              : [{ group: [...hono, ...jwt], message: `Only ${ON_HONO.join(", ")} import Hono.` }]),
          ],
        },
      ],
    },
  };
}

export default defineConfig({
  plugins: ["typescript", "import", "unicorn", "oxc", "promise", "vitest"],
  categories: {
    correctness: "error",
    suspicious: "error",
    perf: "error",
  },
  rules: {
    "consistent-return": "off",
    "typescript/consistent-return": "off",
    "unicorn/prefer-set-has": "off",
    eqeqeq: "error",
    "import/no-cycle": "error",
    "import/no-duplicates": "error",
    "import/no-named-as-default-member": "off",
    "unicorn/consistent-function-scoping": "off",
    "no-await-in-loop": "off",
    "no-shadow": "off",
    "no-underscore-dangle": "off",
    "no-var": "error",
    "prefer-const": "error",
    "typescript/consistent-type-imports": "error",
    "typescript/no-explicit-any": "error",
    "typescript/no-floating-promises": "error",
    "typescript/no-misused-promises": "error",
    "typescript/no-non-null-assertion": "error",
    "typescript/no-unnecessary-condition": "error",
    "typescript/only-throw-error": "error",
    "typescript/return-await": ["error", "in-try-catch"],
    "typescript/switch-exhaustiveness-check": [
      "error",
      {
        considerDefaultExhaustiveForUnions: true,
      },
    ],
  },
  overrides: [
    {
      files: ["src/*.ts", "src/web/**"],
      rules: { "no-restricted-imports": ["error", { patterns: [TEST] }] },
    },
    { files: ["src/**/*.ts"], rules: { "max-lines": ["error", { max: 300 }] } },
    ...LADDER.flatMap((step, rank) => step.map((folder) => importsOf(folder, rank))),
    {
      files: ["test/**"],
      rules: {
        "typescript/no-unsafe-type-assertion": "off",
        "vitest/expect-expect": [
          "error",
          {
            assertFunctionNames: ["expect*"],
          },
        ],
        "vitest/no-conditional-expect": "off",
        "vitest/valid-expect": [
          "error",
          {
            maxArgs: 2,
          },
        ],
      },
    },
    {
      files: ["test/unit/**", "test/worker/**", "test/e2e/**", "test/faults/**"],
      rules: {
        "no-restricted-imports": [
          "error",
          {
            patterns: [
              {
                group: [
                  "./*",
                  "../*.ts",
                  "**/unit/**",
                  "**/worker/**",
                  "**/e2e/**",
                  "**/faults/**",
                  "!**/support/**",
                ],
                message: "Helpers that tests share are in test/support.",
              },
            ],
          },
        ],
      },
    },
  ],
});
