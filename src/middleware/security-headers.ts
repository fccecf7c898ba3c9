import type { MiddlewareHandler } from "hono";
import { secureHeaders } from "hono/secure-headers";
import type { AppEnv } from "../http/context.ts";
import { YEAR_SECONDS } from "../lib/clock.ts";

/**
 * Sets the security headers of every response. Image responses also set headers of their own
 * (`imageHeaders`).
 */
export function securityHeaders(): MiddlewareHandler<AppEnv> {
  return secureHeaders({
    crossOriginOpenerPolicy: false,
    crossOriginResourcePolicy: false,
    originAgentCluster: false,
    // No includeSubDomains: the gateway must not decide for the other hosts of its domain.
    strictTransportSecurity: `max-age=${YEAR_SECONDS}`,
    xDnsPrefetchControl: false,
    xDownloadOptions: false,
    xFrameOptions: "DENY",
    xPermittedCrossDomainPolicies: false,
    xXssProtection: false,
  });
}
