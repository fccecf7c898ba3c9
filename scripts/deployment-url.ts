/**
 * Returns the URL of a Worker from the targets that wrangler prints for a deployment: URLs, custom
 * domains, routes and Workflows. A route is skipped, because it matches only some requests of a domain.
 */
export function deploymentUrl(targets: readonly string[]): string | undefined {
  return targets.map((target) => urlOf(target)).find((url) => url !== undefined);
}

function urlOf(target: string): string | undefined {
  if (target.startsWith("https://")) return target.split(" ")[0];
  const domain = /^(\S+) \(custom domain\b/.exec(target)?.[1];
  return domain === undefined ? undefined : `https://${domain}`;
}
