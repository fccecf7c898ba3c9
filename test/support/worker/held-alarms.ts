let areHeld = false;

/** Has objects that are constructed from now on set no alarm: a test runs each by hand. */
export function holdAlarms(isHeld: boolean): void {
  areHeld = isHeld;
}

/** Keeps an object's storage from setting alarms where a test holds them. */
export function withHeldAlarms(state: DurableObjectState): DurableObjectState {
  if (areHeld) state.storage.setAlarm = () => Promise.resolve();
  return state;
}
