/** The calls to a Durable Object that wait for news of its generation. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /**
   * Returns `read()` once `isNews` accepts it, or after `waitMs`. Reads again whenever it is woken.
   */
  async until<State>(
    read: () => State,
    isNews: (state: State) => boolean,
    waitMs: number,
  ): Promise<State> {
    const untilMs = Date.now() + waitMs;
    for (;;) {
      const state = read();
      const remainingMs = untilMs - Date.now();
      if (isNews(state) || remainingMs <= 0) return state;
      await this.#woken(remainingMs);
    }
  }

  async #woken(withinMs: number): Promise<void> {
    const timer = new AbortController();
    const { promise: woken, resolve: wake } = Promise.withResolvers<void>();
    this.#waiting.add(wake);
    const timeout = scheduler.wait(withinMs, { signal: timer.signal }).catch(() => undefined);
    await Promise.race([woken, timeout]);
    timer.abort();
    this.#waiting.delete(wake);
  }
}
