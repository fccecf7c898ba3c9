import { afterEach } from "vitest";
import { resetKv } from "./edge-kv.ts";

/** Resets the locations of KV after each test in workerd. */
afterEach(resetKv);
