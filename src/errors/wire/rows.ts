import { ACCESS_ROWS } from "./access.ts";
import { GATEWAY_ROWS } from "./gateway.ts";
import { IMAGE_REQUEST_ROWS } from "./image-request.ts";
import { IMAGE_ROWS } from "./images.ts";
import { JOB_ROWS } from "./jobs.ts";
import { REQUEST_ROWS } from "./request.ts";
import { LIMIT_ROWS } from "./limits.ts";
import type { Rows, Section } from "./row.ts";
import { UPSTREAM_ROWS } from "./upstream.ts";

interface Family {
  section: Section;
  rows: Partial<Rows>;
}

/** The rows by family, in the order of docs/errors.md. */
export const FAMILIES: readonly Family[] = [
  { section: "request", rows: { ...REQUEST_ROWS, ...IMAGE_REQUEST_ROWS } },
  { section: "access", rows: { ...ACCESS_ROWS, ...LIMIT_ROWS } },
  { section: "upstream", rows: UPSTREAM_ROWS },
  { section: "jobs", rows: JOB_ROWS },
  { section: "images", rows: IMAGE_ROWS },
  { section: "gateway", rows: GATEWAY_ROWS },
];

/** Every failure's row. */
export const ROWS: Rows = {
  ...REQUEST_ROWS,
  ...IMAGE_REQUEST_ROWS,
  ...ACCESS_ROWS,
  ...LIMIT_ROWS,
  ...UPSTREAM_ROWS,
  ...JOB_ROWS,
  ...IMAGE_ROWS,
  ...GATEWAY_ROWS,
};
