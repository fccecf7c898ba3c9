/**
 * Returns true if an untrusted URL may be fetched: https on port 443, a public DNS name, and no user
 * name or password.
 *
 * The URL parser normalizes every notation of an IPv4 address (decimal, octal, hexadecimal, short)
 * to four decimal numbers, so one pattern matches them all (WHATWG URL, 3.5 host parsing).
 *
 * @param local true to allow http and any host, for local development
 */
export function isPublicUrl(url: URL, local: boolean): boolean {
  if (url.username !== "" || url.password !== "") return false;
  if (local) return url.protocol === "https:" || url.protocol === "http:";
  return url.protocol === "https:" && url.port === "" && isPublicName(url.hostname);
}

/** Names that are reserved for private use (RFC 6761, RFC 6762, and ICANN's `.internal`). */
const PRIVATE_NAMES = /(^|\.)(localhost|local|internal|test|invalid|example|onion|home\.arpa)\.?$/;

function isPublicName(hostname: string): boolean {
  const isIpAddress = hostname.startsWith("[") || /^[\d.]+$/.test(hostname);
  return !isIpAddress && hostname.includes(".") && !PRIVATE_NAMES.test(hostname);
}
