import { configOf } from "../config/environment.ts";
import { nextAlarmStep, type AlarmStep } from "./lifecycle.ts";
import type { JobBatchStorage } from "./storage.ts";
import { runAgain } from "./workflows.ts";

/**
 * The ids of the Durable Objects whose unfinished Workflows this process runs. Used in local development only:
 * a restart clears it, and ends the Workflows.
 */
const runningHere = new Set<string>();

/** Sets the first alarm of a new batch, whose Workflows this process starts. */
export async function setFirstAlarm(
  ctx: DurableObjectState,
  storage: JobBatchStorage,
  env: object,
): Promise<void> {
  const step = stepOf(storage, env);
  if (step.kind === "watch") runningHere.add(ctx.id.toString());
  if (step.kind !== "delete") await ctx.storage.setAlarm(step.untilMs);
}

/**
 * Runs the alarm of a batch and sets the next one.
 *
 * @throws if a Workflow cannot be resumed. The platform and the next alarm try again
 */
export async function runAlarm(
  ctx: DurableObjectState,
  storage: JobBatchStorage,
  env: object,
): Promise<void> {
  const id = ctx.id.toString();
  const step = stepOf(storage, env);
  if (step.kind !== "watch") runningHere.delete(id);
  if (step.kind === "delete") {
    await ctx.storage.deleteAll();
    return;
  }
  await ctx.storage.setAlarm(step.untilMs);
  if (step.kind === "sleep" || runningHere.has(id)) return;
  await runAgain(configOf(env), step.jobs);
  runningHere.add(id);
}

function stepOf(storage: JobBatchStorage, env: object): AlarmStep {
  const isLocal = () => configOf(env).localDevelopment;
  return nextAlarmStep(storage.batch(), storage.jobs(), isLocal, Date.now());
}
