import { extendZodWithOpenApi } from "@asteasolutions/zod-to-openapi";
import { z } from "zod";

extendZodWithOpenApi(z);

/** Zod, whose schemas have the method `openapi`. Every schema of the document is built with it. */
export { z };
