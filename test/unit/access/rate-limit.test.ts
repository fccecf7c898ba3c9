import { describe, expect, it } from "vitest";
import { networkOf } from "../../../src/access/rate-limit.ts";

describe("networkOf", () => {
  it.each([
    ["203.0.113.7", "203.0.113.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:DB8:0001:2::9", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["::", "0:0:0:0::/64"],
    ["not:an:address", "unknown"],
    [undefined, "local"],
  ])("maps the IP address %s to the network %s", (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});
