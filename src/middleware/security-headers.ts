import type { MiddlewareHandler } from "hono";
import { secureHeaders } from "hono/secure-headers";
import type { AppEnv } from "../http/context.ts";

const ONE_YEAR_SECONDS = 365 * 24 * 60 * 60;

/**
 * Sets the security headers of every response. Responses that are images set further ones themselves:
 * which pages may show the image, and what it may do if it is opened as a document.
 */
export function securityHeaders(): MiddlewareHandler<AppEnv> {
  return secureHeaders({
    crossOriginOpenerPolicy: false,
    crossOriginResourcePolicy: false,
    originAgentCluster: false,
    // No includeSubDomains: the gateway must not decide for the other hosts of its domain.
    strictTransportSecurity: `max-age=${ONE_YEAR_SECONDS}`,
    xDnsPrefetchControl: false,
    xDownloadOptions: false,
    xFrameOptions: "DENY",
    xPermittedCrossDomainPolicies: false,
    xXssProtection: false,
  });
}
