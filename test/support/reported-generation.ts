import type { ReportedGeneration } from "../../src/contract/pricing.ts";
import type { Usage } from "../../src/contract/usage.ts";

/** Returns a completed generation of one image, as an image model reports it. */
export function reportedGeneration(
  usage: Usage,
  changes: Partial<ReportedGeneration> = {},
): ReportedGeneration {
  return { usage, isChatUsage: false, svgUsage: undefined, resolved: {}, images: 1, ...changes };
}
