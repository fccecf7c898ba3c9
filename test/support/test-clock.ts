/** A clock that a test sets. A gateway and its upstream can share it. */
export interface TestClock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Sets the time, from which the clock continues. */
  set(time: string): void;
}

/** Returns a clock that starts at `time`. */
export function testClock(time: string): TestClock {
  let offsetMs = 0;
  const set = (to: string) => {
    offsetMs = Date.parse(to) - Date.now();
  };
  set(time);
  return { now: () => Date.now() + offsetMs, set };
}

/** The path that sets the clock of a clocked Worker, followed by the milliseconds since the epoch. */
export const CLOCK_PATH = "/test-clock/";

/**
 * Returns the source of an entry module that wraps the bundle with a clock that tests can set, by replacing
 * `Date.now`. The platform's clock runs alarms, so their times are translated back.
 *
 * @param bundle the module name of the bundle
 */
export function clockedWorker(bundle: string): string {
  return `
    import worker, * as classes from "./${bundle}";
    export * from "./${bundle}";

    const platformNow = Date.now;
    let offsetMs = 0;
    Date.now = () => platformNow() + offsetMs;

    const clocked = (Base) => class extends Base {
      constructor(ctx, env) {
        const { storage } = ctx;
        const setAlarm = storage.setAlarm.bind(storage);
        const getAlarm = storage.getAlarm.bind(storage);
        storage.setAlarm = (time) => setAlarm(time - offsetMs);
        storage.getAlarm = async () => {
          const time = await getAlarm();
          return time === null ? null : time + offsetMs;
        };
        super(ctx, env);
      }
    };

    export class Generation extends clocked(classes.Generation) {}
    export class Budget extends clocked(classes.Budget) {}

    export default {
      fetch(request, env, ctx) {
        const { pathname } = new URL(request.url);
        if (!pathname.startsWith("${CLOCK_PATH}")) return worker.fetch(request, env, ctx);
        offsetMs = Number(pathname.slice("${CLOCK_PATH}".length)) - platformNow();
        return new Response(null, { status: 204 });
      },
    };
  `;
}
