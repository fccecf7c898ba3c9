import type { Reporter, TestModule } from "vitest/node";

/** Prints the totals of a run as its last line, in one fixed form that scripts can parse. */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const count = (state: string) => tests.filter((test) => test.result().state === state).length;
    // A file that fails to load has no tests, so it counts as one failure.
    const broken = modules.filter((module) => module.errors().length > 0).length;
    const skipped = count("skipped");
    const tail = skipped === 0 ? "" : `, ${skipped} skipped`;
    console.log(`\n${count("passed")} passed, ${count("failed") + broken} failed${tail}`);
  }
}
