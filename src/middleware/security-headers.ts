import type { MiddlewareHandler } from "hono";
import { secureHeaders } from "hono/secure-headers";
import type { AppEnv } from "../http/context.ts";

const ONE_YEAR_SECONDS = 365 * 24 * 60 * 60;

/**
 * The headers that make a browser careful with an answer. Which pages may show a picture, and what
 * one that is opened by itself may do, the answers with pictures say themselves.
 */
export function securityHeaders(): MiddlewareHandler<AppEnv> {
  return secureHeaders({
    crossOriginOpenerPolicy: false,
    crossOriginResourcePolicy: false,
    originAgentCluster: false,
    // No includeSubDomains: the other hosts of a domain are not ours to speak for.
    strictTransportSecurity: `max-age=${ONE_YEAR_SECONDS}`,
    xDnsPrefetchControl: false,
    xDownloadOptions: false,
    xFrameOptions: "DENY",
    xPermittedCrossDomainPolicies: false,
    xXssProtection: false,
  });
}
