/** A secret for webhooks that stands out wherever it turns up: one for each name. */
export function webhookSecret(name: string): string {
  return `whsec_${btoa(`the-webhook-secret-of-${name}`.padEnd(32, "."))}`;
}
