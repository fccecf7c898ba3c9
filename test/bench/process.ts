import { readdirSync, readFileSync, writeFileSync } from "node:fs";

/** What the operating system knows of a process. */
export interface OsProcess {
  /** CPU time of all its threads so far, in milliseconds. */
  cpuMs(): number;
  /** Memory that is resident now, in bytes. */
  residentBytes(): number;
  /** Begins to look for the peak anew. */
  resetPeak(): void;
  /** The most that was resident since the last reset, in bytes. */
  peakBytes(): number;
}

/**
 * Starts something that starts a workerd, and finds that workerd.
 *
 * @throws where /proc is not what Linux has, or no workerd was started
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

/** The workerds that this process has started. */
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
    // Gone since it was listed.
    return false;
  }
}

/** Linux's own figures (proc(5)): nanoseconds on the CPU of each thread, and the high-water mark. */
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
