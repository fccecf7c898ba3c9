import type { LogFields } from "./log.ts";

/** What takes time in a request, as `Server-Timing` names it. */
export type Phase = "cache" | "upstream";

/**
 * What one request did: filled along its way, written once at its end.
 *
 * The clock of a Worker stands still but for I/O, so what is measured is waiting, which is what
 * there is to know.
 */
export class RequestEvent {
  readonly requestId: string;
  /** Whose account it is, as it is counted; written as a hash only. */
  account: string | undefined;
  readonly #startedMs = Date.now();
  readonly #phaseMs = new Map<Phase, number>();
  readonly #fields: LogFields = {};

  constructor(requestId: string) {
    this.requestId = requestId;
  }

  /** Adds what is known by now. */
  add(fields: LogFields): void {
    Object.assign(this.#fields, fields);
  }

  /** Waits for `work` and counts the time as the phase's, whether it succeeds or not. */
  async time<T>(phase: Phase, work: () => Promise<T>): Promise<T> {
    const startedMs = Date.now();
    try {
      return await work();
    } finally {
      this.#phaseMs.set(phase, (this.#phaseMs.get(phase) ?? 0) + Date.now() - startedMs);
    }
  }

  /** The value of a Server-Timing header (W3C Server Timing), in milliseconds. */
  serverTiming(): string {
    return [...this.#phaseMs, ["total", Date.now() - this.#startedMs] as const]
      .map(([name, ms]) => `${name};dur=${ms}`)
      .join(", ");
  }

  /** All of it, as it is by now. */
  fields(): LogFields {
    return {
      request_id: this.requestId,
      ...this.#fields,
      ...Object.fromEntries([...this.#phaseMs].map(([name, ms]) => [`${name}_ms`, ms])),
      total_ms: Date.now() - this.#startedMs,
    };
  }
}
