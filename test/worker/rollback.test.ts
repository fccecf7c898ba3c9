import { beforeAll, describe, expect, it, vi } from "vitest";
import type { Scene } from "../stored/fixture.ts";
import { SCENES } from "../stored/scenes.ts";
import { problemsFor, shapeOf } from "../stored/shape.ts";
import { Stage } from "../stored/stage.ts";
import { VERSIONS } from "../stored/versions.ts";

const PLAY_MS = 180_000;

/**
 * Fields that earlier versions write with every request and never read from storage. Of a model's rules
 * they read only the defaults of `quality` and `style` (`upstreamBody` in src/upstream/request.ts).
 */
const NEVER_READ = /\.request\.rules\.(?!qualities\b|styles\b)/;
/**
 * Objects that have another name than in version 0.1.0, which does not find them after a rollback. An
 * Idempotency-Key of a caller without a token belongs to its network. Revocations are spread over objects. A
 * generation that no other request shares has an object without a name.
 */
const RENAMED =
  /^(?:GENERATION|IDEMPOTENCY|JOBS) \w+ named .*\bpublic\/|^REVOCATIONS \w+ named revocations /;

/** Plays a scene. An error names the scene that failed. */
async function playedScene(name: string, scene: (stage: Stage) => Promise<void>): Promise<Scene> {
  try {
    return await Stage.play(scene);
  } catch (cause) {
    throw new Error(`the scene ${name} cannot be played`, { cause });
  }
}

describe("the storage of this version", () => {
  const played: Scene[] = [];

  beforeAll(async () => {
    for (const [name, scene] of Object.entries(SCENES)) {
      vi.spyOn(console, "log").mockImplementation(() => undefined);
      vi.spyOn(console, "error").mockImplementation(() => undefined);
      played.push(await playedScene(name, scene));
    }
  }, PLAY_MS);

  it.each(VERSIONS)("has every field that version %s reads, with its type", (_, scenes) => {
    const problems = problemsFor(shapeOf(Object.values(scenes)), shapeOf(played));
    const known = [NEVER_READ, RENAMED];
    expect(problems.filter((problem) => !known.some((each) => each.test(problem)))).toEqual([]);
  });

  it.each(VERSIONS)("has the Workflow steps of version %s", (_, scenes) => {
    const stepsOf = (from: readonly Scene[]) =>
      new Set(
        from
          .flatMap(({ workflows }) => workflows.flatMap(({ steps }) => steps))
          .map(({ kind, name }) => `${kind} ${name}`),
      );
    expect(stepsOf(played)).toEqual(stepsOf(Object.values(scenes)));
  });
});
