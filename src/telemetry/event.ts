import type { LogFields } from "./log.ts";

/** A timed phase of a request, as named in `Server-Timing`. */
export type Phase = "cache" | "upstream";

/**
 * The log event of one request. Each layer adds fields, and the event is written once at the end.
 *
 * A Worker's clock advances only during I/O, so the durations measure waiting, not computing.
 */
export class RequestEvent {
  readonly requestId: string;
  /** The account that the request is charged to. Logged only as a hash. */
  account: string | undefined;
  readonly #startedMs = Date.now();
  readonly #phaseMs = new Map<Phase, number>();
  readonly #fields: LogFields = {};

  constructor(requestId: string) {
    this.requestId = requestId;
  }

  /** Adds fields, replacing earlier values of the same name. */
  add(fields: LogFields): void {
    Object.assign(this.#fields, fields);
  }

  /** Runs `work` and adds its duration to the phase, whether it succeeds or fails. */
  async time<T>(phase: Phase, work: () => Promise<T>): Promise<T> {
    const startedMs = Date.now();
    try {
      return await work();
    } finally {
      this.#phaseMs.set(phase, (this.#phaseMs.get(phase) ?? 0) + Date.now() - startedMs);
    }
  }

  /** Returns the value of the Server-Timing header (W3C Server Timing), in milliseconds. */
  serverTiming(): string {
    return [...this.#phaseMs, ["total", Date.now() - this.#startedMs] as const]
      .map(([name, ms]) => `${name};dur=${ms}`)
      .join(", ");
  }

  /** Returns all fields, with the durations up to now. */
  fields(): LogFields {
    return {
      request_id: this.requestId,
      ...this.#fields,
      ...Object.fromEntries([...this.#phaseMs].map(([name, ms]) => [`${name}_ms`, ms])),
      total_ms: Date.now() - this.#startedMs,
    };
  }
}
