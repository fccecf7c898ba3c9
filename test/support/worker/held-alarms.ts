let areHeld = false;

/** Prevents objects that are constructed afterwards from setting alarms: a test runs each alarm itself. */
export function holdAlarms(isHeld: boolean): void {
  areHeld = isHeld;
}

/** Replaces `setAlarm` of an object's storage if a test holds alarms. */
export function withHeldAlarms(state: DurableObjectState): DurableObjectState {
  if (areHeld) state.storage.setAlarm = () => Promise.resolve();
  return state;
}
