/** A clock that a test sets, for a gateway and its upstream alike. */
export interface TestClock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Sets it; from then on it runs. */
  set(time: string): void;
}

/** A clock that shows `time`, and runs from then on. */
export function testClock(time: string): TestClock {
  let offsetMs = 0;
  const set = (to: string) => {
    offsetMs = Date.parse(to) - Date.now();
  };
  set(time);
  return { now: () => Date.now() + offsetMs, set };
}

/** The path that sets the clock of a clocked Worker. */
export const CLOCK_PATH = "/test-clock/";

/**
 * The entry module of a Worker that goes by a clock of its own: the bundle behind it, with another
 * `Date.now`. Alarms are set by the platform's clock, so they are translated back.
 *
 * @param bundle the module name of the bundle
 */
export function clockedWorker(bundle: string): string {
  return `
    import worker, { Generation as Base } from "./${bundle}";
    export * from "./${bundle}";

    const platformNow = Date.now;
    let offsetMs = 0;
    Date.now = () => platformNow() + offsetMs;

    export class Generation extends Base {
      constructor(ctx, env) {
        const setAlarm = ctx.storage.setAlarm.bind(ctx.storage);
        ctx.storage.setAlarm = (time) => setAlarm(time - offsetMs);
        super(ctx, env);
      }
    }

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
