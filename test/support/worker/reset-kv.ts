import { afterEach } from "vitest";
import { resetKv } from "./edge-kv.ts";

/** No test in workerd finds what KV remembers from the one before. */
afterEach(resetKv);
