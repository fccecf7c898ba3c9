import { Hono } from "hono";
import { methodNotAllowed } from "hono/method-not-allowed";
import { allowedMethods } from "./http/allowed-methods.ts";
import type { AppEnv } from "./http/context.ts";
import { errorResponse, failureResponse } from "./http/error-response.ts";
import { pathHint } from "./http/path-hint.ts";
import { configuration } from "./middleware/configuration.ts";
import { cors } from "./middleware/cors.ts";
import { requestEvent } from "./middleware/request-event.ts";
import { securityHeaders } from "./middleware/security-headers.ts";
import { batchesRoutes } from "./routes/batches.ts";
import { diagnosticsRoute } from "./routes/diagnostics.ts";
import { generationsRoutes } from "./routes/generations.ts";
import { healthRoute } from "./routes/health.ts";
import { imagesRoute } from "./routes/images.ts";
import { modelsRoutes } from "./routes/models.ts";
import { openApiRoute } from "./routes/openapi.ts";
import { pageRoute } from "./routes/page.ts";
import { signedImageRoute } from "./routes/signed-image.ts";
import { tokensRoutes } from "./routes/tokens.ts";
import { usageRoute } from "./routes/usage.ts";
import { variationsRoute } from "./routes/variations.ts";
import { webhooksRoutes } from "./routes/webhooks.ts";

export const app = new Hono<AppEnv>();

app.use(requestEvent());
app.use(cors());
app.use(securityHeaders());
app.use(configuration());
app.use(
  methodNotAllowed({
    app,
    onMethodNotAllowed: (c, methods) =>
      failureResponse({ code: "method_not_allowed", allow: allowedMethods(methods, c) }, c),
  }),
);

pageRoute(app);
generationsRoutes(app);
signedImageRoute(app);
webhooksRoutes(app);
batchesRoutes(app);
variationsRoute(app);
imagesRoute(app);
modelsRoutes(app);
tokensRoutes(app);
usageRoute(app);
diagnosticsRoute(app);
healthRoute(app);
openApiRoute(app);

app.notFound((c) => failureResponse({ code: "not_found", hint: pathHint(new URL(c.req.url)) }, c));
app.onError(errorResponse);
