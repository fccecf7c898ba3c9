/** The paths of the entry module's own endpoints. */
export const SOAK_PATHS = {
  /** Sets the clock ahead by a number of milliseconds. */
  clock: "/soak/clock/",
  /** Moves the alarm of an object, given as `<binding>/<hex id>`, to the clock's current time. */
  alarm: "/soak/alarm/",
  /** Runs the Workflow of a job again, given the job's id. */
  job: "/soak/job/",
} as const;

/**
 * Returns the entry module of the Worker that the soak runs: the bundle, and the parts of the
 * platform that Miniflare lacks.
 *
 * - The soak sets the Worker's clock ahead. The platform's alarms do not follow this clock, so the soak
 *   then moves each alarm.
 * - Cloudflare resumes a Workflow after a restart, and Miniflare does not. The soak runs it again.
 *
 * @param bundle the module name of the bundle
 */
export function soakWorker(bundle: string): string {
  return `
    import worker, { Generation as G, IdempotencyKey as K, Jobs as J } from "./${bundle}";
    export * from "./${bundle}";

    const platformNow = Date.now;
    let offsetMs = 0;
    Date.now = () => platformNow() + offsetMs;

    const clocked = (Base) => class extends Base {
      constructor(ctx, env) {
        const setAlarm = ctx.storage.setAlarm.bind(ctx.storage);
        ctx.storage.setAlarm = (time) => setAlarm(time - offsetMs);
        super(ctx, env);
      }

      /** Moves an alarm to the current time of the clock. Returns true if there is an alarm. */
      async moveAlarm() {
        const time = await this.ctx.storage.getAlarm();
        if (time === null) return false;
        if (time > platformNow()) await this.ctx.storage.setAlarm(time);
        return true;
      }
    };

    export class Generation extends clocked(G) {}
    export class IdempotencyKey extends clocked(K) {}
    export class Jobs extends clocked(J) {}

    export default {
      async fetch(request, env, ctx) {
        const { pathname } = new URL(request.url);
        const after = (path) => pathname.startsWith(path) ? pathname.slice(path.length) : undefined;
        const clock = after("${SOAK_PATHS.clock}");
        if (clock !== undefined) {
          offsetMs = Number(clock);
          return Response.json(Date.now());
        }
        const alarm = after("${SOAK_PATHS.alarm}");
        if (alarm !== undefined) {
          const [binding, id] = alarm.split("/");
          const objects = env[binding];
          return Response.json(await objects.get(objects.idFromString(id)).moveAlarm());
        }
        const job = after("${SOAK_PATHS.job}");
        if (job !== undefined) {
          // There is no instance yet if the gateway was killed before it created one.
          const instance = await env.IMAGE_JOB.get(job).catch(() => undefined);
          if (instance === undefined) return Response.json("none");
          const { status } = await instance.status();
          if (status !== "complete") await instance.restart();
          return Response.json(status);
        }
        return worker.fetch(request, env, ctx);
      },
    };
  `;
}
