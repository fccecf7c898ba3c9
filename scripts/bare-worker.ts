import { Hono } from "hono";
import { z } from "zod";

/** A Worker with one route and the two largest libraries of the gateway. `npm run gate` compares start-up with it. */
export default new Hono().get("/", (context) =>
  context.json(z.string().safeParse(context.req.query("text"))),
);
