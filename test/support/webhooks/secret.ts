/** Returns the webhook secret of a name, distinctive enough to search for in logs. */
export function webhookSecret(name: string): string {
  return `whsec_${btoa(`the-webhook-secret-of-${name}`.padEnd(32, "."))}`;
}
