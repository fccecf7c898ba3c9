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
 * Earlier versions name the object of a `no-store` request after its Idempotency-Key. They find the generation
 * of this version by its id, which the key's row holds.
 */
const FOUND_BY_ID = /^GENERATION Generation named idempotent\/public\/\* is missing$/;

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
    const isKnown = (problem: string) => NEVER_READ.test(problem) || FOUND_BY_ID.test(problem);
    expect(problems.filter((problem) => !isKnown(problem))).toEqual([]);
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
