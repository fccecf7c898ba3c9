import type { Reporter, TestModule } from "vitest/node";

/** Ends a run with one plain line that any machine can read. */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const count = (state: string) => tests.filter((test) => test.result().state === state).length;
    // A file that does not load has no tests to fail.
    const broken = modules.filter((module) => module.errors().length > 0).length;
    const skipped = count("skipped");
    const tail = skipped === 0 ? "" : `, ${skipped} skipped`;
    console.log(`\n${count("passed")} passed, ${count("failed") + broken} failed${tail}`);
  }
}
