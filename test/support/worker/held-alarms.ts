let areHeld = false;

/** The alarms that are held, Unix milliseconds, by the object's id. */
const alarms = new Map<string, number>();

/** Prevents alarms of objects that are constructed afterwards from running: a test runs each alarm itself. */
export function holdAlarms(isHeld: boolean): void {
  areHeld = isHeld;
  alarms.clear();
}

/** Replaces the alarm of an object's storage if a test holds alarms. */
export function withHeldAlarms(state: DurableObjectState): DurableObjectState {
  if (!areHeld) return state;
  const id = state.id.toString();
  state.storage.setAlarm = async (time) => setHeldAlarm(id, Number(time));
  state.storage.getAlarm = async () => alarms.get(id) ?? null;
  state.storage.deleteAlarm = async () => setHeldAlarm(id, undefined);
  return state;
}

/** Returns true if an object has an alarm. */
export function hasHeldAlarm(id: string): boolean {
  return alarms.has(id);
}

/** Sets an object's alarm, or deletes it, as the platform does. */
export function setHeldAlarm(id: string, timeMs: number | undefined): void {
  if (timeMs === undefined) alarms.delete(id);
  else alarms.set(id, timeMs);
}
