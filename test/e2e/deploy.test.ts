import { describe, expect, it } from "vitest";
import { addressIn } from "../../scripts/address.ts";

describe("where a deployment is, by what wrangler tells", () => {
  it.each([
    [
      ["https://darkroom.me.workers.dev", "workflow: darkroom-image-job"],
      "https://darkroom.me.workers.dev",
    ],
    [["pictures.your.example (custom domain)", "workflow: a"], "https://pictures.your.example"],
    [
      ["pictures.your.example (custom domain) [production: enabled]"],
      "https://pictures.your.example",
    ],
    [["your.example/images/* (zone name: your.example)", "workflow: a"], undefined],
    [[], undefined],
  ])("%j", (targets, address) => {
    expect(addressIn(targets)).toBe(address);
  });
});
