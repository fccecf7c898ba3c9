import { describe, expect, it } from "vitest";
import { isPublicUrl } from "../../../src/lib/public-url.ts";

describe("isPublicUrl", () => {
  it.each([
    "https://images.example.com/a.png",
    "https://images.example.com:443/a.png?sig=%20",
    "https://xn--bcher-kva.example.org/a",
  ])("accepts %s", (url) => {
    expect(isPublicUrl(new URL(url), false)).toBe(true);
  });

  it.each([
    "http://images.example.com/a.png",
    "https://images.example.com:8443/a.png",
    "https://user@images.example.com/",
    "https://user:secret@images.example.com/",
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://localhost/",
    "https://a.localhost/",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://metadata.google.internal./",
    "https://intranet/",
    "ftp://images.example.com/a.png",
    "data:image/png;base64,AAAA",
    "file:///etc/passwd",
  ])("rejects %s", (url) => {
    expect(isPublicUrl(new URL(url), false)).toBe(false);
  });

  it("accepts http and a loopback host in local development, but no password and no other scheme", () => {
    expect(isPublicUrl(new URL("http://127.0.0.1:8788/a.png"), true)).toBe(true);
    expect(isPublicUrl(new URL("http://me:pw@127.0.0.1:8788/a.png"), true)).toBe(false);
    expect(isPublicUrl(new URL("file:///etc/passwd"), true)).toBe(false);
  });
});
