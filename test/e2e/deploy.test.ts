import { describe, expect, it } from "vitest";
import { deploymentUrl } from "../../scripts/deployment-url.ts";

describe("npm run deploy", () => {
  it.each([
    [
      ["https://darkroom.me.workers.dev", "workflow: darkroom-image-job"],
      "https://darkroom.me.workers.dev",
    ],
    [["images.your.example (custom domain)", "workflow: a"], "https://images.your.example"],
    [["images.your.example (custom domain) [production: enabled]"], "https://images.your.example"],
    [["your.example/images/* (zone name: your.example)", "workflow: a"], undefined],
    [[], undefined],
  ])("reads the URL of the deployment from wrangler's targets: %j", (targets, url) => {
    expect(deploymentUrl(targets)).toBe(url);
  });
});
