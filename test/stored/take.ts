import { expect, inject, it, vi } from "vitest";
import { SCENES } from "./scenes.ts";
import { Stage } from "./stage.ts";

it.each(Object.entries(SCENES))(
  "plays the scene %s and writes its fixture",
  async (name, scene) => {
    vi.spyOn(console, "log").mockImplementation(() => undefined);
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const recorded = await Stage.play(scene);
    const body = JSON.stringify(recorded);
    const response = await fetch(`${inject("fixtureWriter")}/${name}`, { method: "POST", body });
    expect(response.status).toBe(200);
  },
);
