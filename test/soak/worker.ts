/** The paths of the entry module's own endpoints. */
export const SOAK_PATHS = {
  /** Sets the clock ahead by a number of milliseconds. */
  clock: "/soak/clock/",
  /**
   * Runs the alarm of an object, given as `<binding>/<hex id>`, if it is due by the clock. The response is
   * `none`, `due` or `later`.
   */
  alarm: "/soak/alarm/",
  /** Runs the Workflow of a job again, given the job's id. */
  job: "/soak/job/",
  /** Sets the faults of KV and of the objects, given as the JSON of `Faults` in percent-encoding. */
  faults: "/soak/faults/",
  /** Deletes a generation from KV, given its id, as if it had expired. */
  expire: "/soak/expire/",
} as const;

/** A directive in a prompt: the alarm that starts its generation is lost. The upstream ignores it. */
export const LOSES_ALARM = "soak=loses-alarm";

/** Longer than any limit of the gateway. */
const HANG_MS = 15 * 60 * 1000;
/** After a lost response, the calls of an object succeed for this time, so that one retry suffices. */
const AFTER_LOSS_MS = 2000;

/**
 * Returns the entry module of the Worker that the soak runs: the bundle, and the parts of the
 * platform that Miniflare lacks.
 *
 * - The soak sets the Worker's clock ahead. The platform's alarms do not follow this clock, so the soak
 *   then moves each alarm.
 * - Cloudflare resumes a Workflow after a restart, and Miniflare does not. The soak runs it again.
 * - KV and the calls of objects are slow, fail, hang or lose their responses, for requests, objects and
 *   Workflows.
 *
 * @param bundle the module name of the bundle
 */
export function soakWorker(bundle: string): string {
  return `
    import worker, * as bundle from "./${bundle}";
    export * from "./${bundle}";

    const platformNow = Date.now;
    let offsetMs = 0;
    Date.now = () => platformNow() + offsetMs;

    let faults = {};
    /** When each object last lost a response. */
    const lossMs = new Map();

    /** Performs a call of a target as the current faults determine. */
    async function disturbed(target, call, object) {
      const { kind, share = 1, ms: [minMs, maxMs] = [0, 0] } = faults[target] ?? { share: 0 };
      if (Math.random() >= share) return call();
      switch (kind) {
        case "slow":
          await scheduler.wait(minMs + Math.random() * (maxMs - minMs));
          return call();
        case "fails":
          throw new Error(target + " fails");
        case "hangs":
          await scheduler.wait(${HANG_MS});
          throw new Error(target + " has hung");
        case "loses": {
          const key = object === undefined ? undefined : target + object.id;
          if (platformNow() - (lossMs.get(key) ?? 0) < ${AFTER_LOSS_MS}) return call();
          await call();
          if (key === undefined) throw new Error("the response of KV is lost");
          lossMs.set(key, platformNow());
          await object.restart().catch(() => undefined);
          throw Object.assign(new Error("the response of the object is lost"), { retryable: true });
        }
      }
    }

    const KV_METHODS = ["get", "getWithMetadata", "put", "delete"];
    const BINDINGS = ["BUDGET", "GENERATION", "IDEMPOTENCY", "JOBS", "REVOCATIONS"];

    function member(target, name) {
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    }

    const disturbedKv = (kv) => new Proxy(kv, {
      get(target, name) {
        const value = member(target, name);
        if (!KV_METHODS.includes(name)) return value;
        return (...args) => disturbed(name, () => value(...args));
      },
    });

    const disturbedStub = (binding, stub) => new Proxy(stub, {
      get(target, name) {
        if (name === "id" || name === "name") return target[name];
        return (...args) => disturbed(binding, () => target[name](...args), target);
      },
    });

    const disturbedObjects = (binding, objects) => new Proxy(objects, {
      get(target, name) {
        const value = member(target, name);
        return name === "get" ? (...args) => disturbedStub(binding, value(...args)) : value;
      },
    });

    /** The gateway parses each environment once. */
    const environments = new WeakMap();

    function disturbedEnvironment(env) {
      const known = environments.get(env);
      if (known !== undefined) return known;
      const objects = BINDINGS.map((name) => [name, disturbedObjects(name, env[name])]);
      const all = { ...env, CACHE: disturbedKv(env.CACHE), ...Object.fromEntries(objects) };
      environments.set(env, all);
      return all;
    }

    /** How far ahead the clock was when the alarm of an object was set. */
    const alarmOffsetMs = new Map();

    const soaked = (Base) => class extends Base {
      losesAlarms = false;
      alarms = 0;

      constructor(ctx, env) {
        const { storage } = ctx;
        const id = ctx.id.toString();
        const setAlarm = storage.setAlarm.bind(storage);
        const getAlarm = storage.getAlarm.bind(storage);
        storage.setAlarm = (time) => {
          if (this.losesAlarms && time <= Date.now()) return storage.deleteAlarm();
          alarmOffsetMs.set(id, offsetMs);
          return setAlarm(time - offsetMs);
        };
        storage.getAlarm = async () => {
          const time = await getAlarm();
          return time === null ? null : time + (alarmOffsetMs.get(id) ?? 0);
        };
        super(ctx, disturbedEnvironment(env));
      }

      async alarm(info) {
        this.alarms += 1;
        try {
          await super.alarm(info);
        } finally {
          this.alarms -= 1;
        }
      }

      async moveAlarm() {
        // While an alarm runs, the platform shows none.
        if (this.alarms > 0) return "due";
        const time = await this.ctx.storage.getAlarm();
        if (time === null) return "none";
        if (time > Date.now()) return "later";
        if (time - (alarmOffsetMs.get(this.ctx.id.toString()) ?? 0) > platformNow()) {
          await this.ctx.storage.setAlarm(time);
        }
        return "due";
      }

      restart() {
        this.ctx.abort("as if the object had been moved");
      }
    };

    export class Budget extends soaked(bundle.Budget) {}
    export class IdempotencyKey extends soaked(bundle.IdempotencyKey) {}
    export class Jobs extends soaked(bundle.Jobs) {}
    export class Revocations extends soaked(bundle.Revocations) {}

    export class Generation extends soaked(bundle.Generation) {
      #hasLostAlarm = false;

      async start(request, query) {
        const losesAlarm = !this.#hasLostAlarm && JSON.stringify(request).includes("${LOSES_ALARM}");
        if (!losesAlarm) return super.start(request, query);
        this.#hasLostAlarm = true;
        this.losesAlarms = true;
        try {
          return await super.start(request, query);
        } finally {
          this.losesAlarms = false;
        }
      }
    }

    export class ImageJob extends bundle.ImageJob {
      constructor(ctx, env) {
        super(ctx, disturbedEnvironment(env));
      }
    }

    async function expire(id, kv) {
      const { keys } = await kv.list({ prefix: "image/" + id + "/" });
      const { value, metadata } = await kv.getWithMetadata("generation/" + id, "json");
      const ofKey = "request/" + metadata?.key;
      const pointer = value === null ? null : await kv.get(ofKey, "json");
      const names = [...keys.map(({ name }) => name), "generation/" + id];
      if (pointer?.id === id) names.push(ofKey);
      for (const name of names) await kv.delete(name);
      return names.length;
    }

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
        const set = after("${SOAK_PATHS.faults}");
        if (set !== undefined) {
          faults = JSON.parse(decodeURIComponent(set));
          return Response.json(faults);
        }
        const expired = after("${SOAK_PATHS.expire}");
        if (expired !== undefined) return Response.json(await expire(expired, env.CACHE));
        return worker.fetch(request, disturbedEnvironment(env), ctx);
      },
    };
  `;
}
