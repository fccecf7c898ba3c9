import { readdirSync, readFileSync, writeFileSync } from "node:fs";

/** The operating system's figures for a process. */
export interface OsProcess {
  /** CPU time of all its threads so far, in milliseconds. */
  cpuMs(): number;
  /** Memory that is resident now, in bytes. */
  residentBytes(): number;
  /** Resets the peak. */
  resetPeak(): void;
  /** Peak memory since the last reset, in bytes. */
  peakBytes(): number;
}

/**
 * Calls `start`, which starts one workerd, and returns the process of that workerd.
 *
 * @throws without Linux's /proc, or if not exactly one workerd was started
 */
export async function withWorkerd<Started>(
  start: () => Promise<Started>,
): Promise<{ started: Started; workerd: OsProcess }> {
  const before = new Set(workerdIds());
  const started = await start();
  const ids = workerdIds().filter((id) => !before.has(id));
  const [id] = ids;
  if (id === undefined || ids.length > 1) throw new Error("no workerd, or more than one, started");
  return { started, workerd: osProcess(id) };
}

/** Returns the process ids of the workerds that this process has started. */
function workerdIds(): string[] {
  return readdirSync("/proc").filter((id) => /^\d+$/.test(id) && isOwnWorkerd(id));
}

function isOwnWorkerd(id: string): boolean {
  try {
    // pid (name) state parent …
    const [, name, parent] =
      /\((.*)\) \S (\d+)/.exec(readFileSync(`/proc/${id}/stat`, "utf8")) ?? [];
    return name === "workerd" && parent === String(process.pid);
  } catch {
    // The process has exited since it was listed.
    return false;
  }
}

/** Reads Linux's figures (proc(5)): CPU nanoseconds of each thread, and the high-water mark of memory. */
function osProcess(id: string): OsProcess {
  const status = (field: string) => {
    const kib = new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(
      readFileSync(`/proc/${id}/status`, "utf8"),
    )?.[1];
    if (kib === undefined) throw new Error(`/proc/${id}/status has no ${field}`);
    return Number(kib) * 1024;
  };
  return {
    cpuMs() {
      const nanoseconds = readdirSync(`/proc/${id}/task`).map((thread) =>
        Number(readFileSync(`/proc/${id}/task/${thread}/schedstat`, "utf8").split(" ")[0]),
      );
      return nanoseconds.reduce((sum, each) => sum + each, 0) / 1e6;
    },
    residentBytes: () => status("VmRSS"),
    resetPeak: () => writeFileSync(`/proc/${id}/clear_refs`, "5"),
    peakBytes: () => status("VmHWM"),
  };
}
