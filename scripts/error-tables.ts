import type { Failure } from "../src/errors/failure.ts";
import { toWire, type WireError } from "../src/errors/wire.ts";
import type { Cause } from "../src/errors/wire/row.ts";
import { FAMILIES } from "../src/errors/wire/rows.ts";

const HEADER = `| code | status | cause | fix | SDK retries |
| --- | --- | --- | --- | --- |`;

/** The place of a table in docs/errors.md. The part between the two comments is generated. */
const TABLE = /(<!-- errors: (\w+) -->\n)[\s\S]*?(<!-- end -->)/g;

/** Returns the text of docs/errors.md with its tables generated from the rows of `src/errors/wire`. */
export function withErrorTables(text: string): string {
  return text.replaceAll(TABLE, (_, start: string, section: string, end: string) => {
    const rows = causesIn(section).map((cause) => tableRow(cause));
    return `${start}\n${[HEADER, ...rows].join("\n")}\n\n${end}`;
  });
}

/** Returns the sections whose table has no place in a text. */
export function missingTables(text: string): string[] {
  const present = [...text.matchAll(TABLE)].map(([, , section]) => section);
  return FAMILIES.map(({ section }) => section).filter((section) => !present.includes(section));
}

/** Returns the causes of a section: those of its own family first, then in the order of the rows. */
function causesIn(section: string): Cause<Failure>[] {
  const isOwn = (family: { section: string }) => Number(family.section === section);
  return FAMILIES.toSorted((a, b) => isOwn(b) - isOwn(a)).flatMap((family) =>
    Object.values(family.rows)
      .flatMap((row): readonly Cause<Failure>[] => row.causes)
      .filter((cause) => (cause.section ?? family.section) === section),
  );
}

function tableRow({ example, cause, fix, shownCode, shownStatus }: Cause<Failure>): string {
  const wire = toWire(example);
  const code = shownCode ?? `\`${wire.body.error.code}\``;
  const status = shownStatus ?? String(wire.status);
  return `| ${[code, status, cause, fix, sdkRetries(wire)].join(" | ")} |`;
}

/** The statuses below 500 that OpenAI's SDKs retry. */
const RETRIED: readonly number[] = [408, 409, 429];

/** Returns whether OpenAI's SDKs retry an error by themselves, by its status and headers. */
export function sdkRetries({ status, headers }: Pick<WireError, "status" | "headers">): string {
  if (headers["x-should-retry"] === "false") return "no, `x-should-retry: false`";
  if (status < 500 && !RETRIED.includes(status)) return "no";
  return "retry-after" in headers ? "yes, after `Retry-After`" : "yes";
}
