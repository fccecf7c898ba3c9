/**
 * Where a Worker is, by what wrangler tells of a deployment: it names addresses, domains, routes and
 * Workflows alike. A route says only which requests of a domain are meant.
 */
export function addressIn(targets: readonly string[]): string | undefined {
  return targets.map((target) => addressOf(target)).find((each) => each !== undefined);
}

function addressOf(target: string): string | undefined {
  if (target.startsWith("https://")) return target.split(" ")[0];
  const domain = /^(\S+) \(custom domain\b/.exec(target)?.[1];
  return domain === undefined ? undefined : `https://${domain}`;
}
