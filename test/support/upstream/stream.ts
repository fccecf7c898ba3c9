import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { numberOf, type Directives } from "./directives.ts";
import { envelope } from "./errors.ts";
import { paintImage } from "./images.ts";
import type { ImageRequest } from "./request.ts";
import { nowSeconds, resolvedFields, textChunks } from "./response-body.ts";
import { serverSentEvent } from "./server-sent-event.ts";
import { reportedUsage } from "./usage.ts";

/** Streams the partial images and the completed image, as the directives say. */
export async function streamImages(
  request: ImageRequest,
  response: ServerResponse,
  {
    pauseMs,
    hold,
    trackUrl,
  }: { pauseMs: number; hold: () => Promise<Directives>; trackUrl: string },
): Promise<void> {
  const chunks = textChunks(request);
  if (chunks !== undefined) {
    const data = [...chunks.map((chunk) => JSON.stringify(chunk)), "[DONE]"];
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(data.map((each) => `data: ${each}\n\n`).join(""));
    return;
  }
  const image = (await paintImage(request, 0, trackUrl)).toString("base64");
  const common = { b64_json: image, created_at: nowSeconds(), ...resolvedFields(request) };
  const events: { type: string; [name: string]: unknown }[] = Array.from(
    { length: request.partialImages },
    (_, index) => ({
      type: "image_generation.partial_image",
      ...common,
      partial_image_index: index,
    }),
  );
  events.push({
    type: "image_generation.completed",
    ...common,
    safety_identifier: request.identifier,
    usage: reportedUsage(request),
  });
  const count = numberOf(request.directives, "partials", events.length);
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const event of events.slice(0, count)) {
    await sleep(numberOf(request.directives, "gap", pauseMs));
    const isLast = event === events.at(-1);
    if (isLast && request.directives.get("hold") === "last") await hold();
    const text = serverSentEvent(event.type, event);
    const problem = await new Promise((resolve) => response.write(text, resolve));
    // The gateway may close the connection as soon as it has the completed image.
    request.call.isWhole = event.type.endsWith(".completed") && !(problem instanceof Error);
  }
  const then = request.directives.get("then");
  if (then === "error") {
    const code = request.directives.get("code") ?? "server_error";
    const { error } = envelope("The model failed.", code);
    response.write(serverSentEvent("error", { error }));
  }
  if (then === "cut") response.destroy();
  else response.end();
}
