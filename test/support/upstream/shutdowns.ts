/** The days on which OpenAI shuts down its image models, at 00:00 UTC (its page "Deprecations"). */
const SHUTDOWNS: Record<string, string> = {
  "dall-e-2": "2026-05-12",
  "dall-e-3": "2026-05-12",
  "gpt-image-1": "2026-10-23",
  "gpt-image-1-mini": "2026-12-01",
  "gpt-image-1.5": "2026-12-01",
  "gpt-image-1.5-2025-12-16": "2026-12-01",
  "chatgpt-image-latest": "2026-12-01",
};

/** The day on which OpenAI shuts down most of its older models, 00:00 UTC, in milliseconds since the epoch. */
export const DECEMBER_MS = Date.UTC(2026, 11, 1);

/** Returns true if OpenAI has shut a model down by a time, in milliseconds since the epoch. */
export function isShutDown(model: string, nowMs: number): boolean {
  const day = SHUTDOWNS[model];
  return day !== undefined && nowMs >= Date.parse(day);
}
