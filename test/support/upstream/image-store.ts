import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { typeOf } from "./images.ts";
import type { ImageRequest, ReceivedRequest } from "./request.ts";

/** The path below which every URL of an image is. */
const PREFIX = "/images/";

/** The images that the simulator returned as URLs, and the requests for them. */
export class ImageStore {
  /** Requests for the URL of an image, without bodies, oldest first. */
  readonly fetched: ReceivedRequest[] = [];
  /** The prefix of the URLs that a hostile SVG requests. No image is stored below it. */
  readonly trackUrl: string;
  readonly #origin: string;
  readonly #images = new Map<string, Buffer>();

  constructor(origin: string) {
    this.#origin = origin;
    this.trackUrl = `${origin}${PREFIX}track/`;
  }

  /** Returns true if a path belongs to an image. */
  has(path: string): boolean {
    return path.startsWith(PREFIX);
  }

  /**
   * Stores an image, and returns its URL.
   *
   * @param index among the images of the response
   */
  store(image: Buffer, request: ImageRequest, index: number): string {
    const requested = request.directives.get("image") ?? "stored";
    const kind = requested === "stuck" && index === 0 ? "stored" : requested;
    if (kind === "inside") return this.#origin.replace("//", "//user:password@");
    const path = `${PREFIX}${kind}/${randomBytes(8).toString("hex")}.${typeOf(request)}`;
    this.#images.set(path, image);
    return `${this.#origin}${path}`;
  }

  /** Responds to a request for an image, and records the request. */
  serve(received: ReceivedRequest, response: ServerResponse): void {
    this.fetched.push(received);
    const { path } = received;
    const image = this.#images.get(path);
    const isFirst = this.fetched.filter((request) => request.path === path).length === 1;
    if (path.startsWith(`${PREFIX}redirect/`)) {
      const location = `${this.#origin}${PREFIX}stored/elsewhere.png`;
      response.writeHead(302, { location }).end();
    } else if (path.startsWith(`${PREFIX}stuck/`)) {
      response.writeHead(200).write(image);
    } else if (path.startsWith(`${PREFIX}flaky/`) && isFirst) {
      response.writeHead(503).end();
    } else if (image === undefined || path.startsWith(`${PREFIX}expired/`)) {
      response.writeHead(403).end("expired");
    } else {
      // The wrong type, as some object stores send: the gateway must detect the type by the signature.
      response.writeHead(200, { "content-type": "application/octet-stream" }).end(image);
    }
  }
}
