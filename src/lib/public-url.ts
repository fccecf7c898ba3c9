/**
 * Whether a URL that came from outside may be fetched: https on its own port, a public DNS name,
 * no user name or password.
 *
 * `new URL` has already folded every notation of an IPv4 address (decimal, octal, hexadecimal,
 * short) into four numbers, so that one pattern finds them all (WHATWG URL, 3.5 host parsing).
 *
 * @param local allow http and any host as well: for local development, where the upstream is on
 *   this machine
 */
export function isPublicUrl(url: URL, local: boolean): boolean {
  if (url.username !== "" || url.password !== "") return false;
  if (local) return url.protocol === "https:" || url.protocol === "http:";
  return url.protocol === "https:" && url.port === "" && isPublicName(url.hostname);
}

/** Names that never lead to the public internet (RFC 6761, RFC 6762, and ICANN's `.internal`). */
const PRIVATE_NAMES = /(^|\.)(localhost|local|internal|test|invalid|example|onion|home\.arpa)\.?$/;

function isPublicName(hostname: string): boolean {
  const isAddress = hostname.startsWith("[") || /^[\d.]+$/.test(hostname);
  return !isAddress && hostname.includes(".") && !PRIVATE_NAMES.test(hostname);
}
