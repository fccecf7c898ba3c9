import { createRequire } from "node:module";
import sharp, { type Sharp } from "sharp";
import { gradientOf, paintSvg, type SvgForm } from "./svg.ts";

const TYPES = ["png", "jpeg", "webp", "gif", "svg", "avif"] as const;

/** A type of image that the simulator paints. */
export type ImageType = (typeof TYPES)[number];

/** The properties of an image. */
export interface Painting {
  prompt: string;
  /** The position among the images for one prompt. Each looks different. */
  index: number;
  /** Changes the image; `undefined` if the request has none. */
  seed?: unknown;
  width: number;
  height: number;
  type: ImageType;
  transparent: boolean;
  /** The quality of jpeg and webp, 0 to 100. */
  compression: number;
  /** The number of frames of a GIF. */
  frames: number;
  /** The duration of each frame, in milliseconds. */
  frameMs: number;
  /** The prefix of the URLs that a hostile SVG requests. Absent: a harmless SVG. */
  trackUrl?: string;
  /** The form of an SVG document. Absent: UTF-8 without a prolog. */
  svgForm?: SvgForm;
}

// A dependency of the project, so that images are the same on a machine without fonts.
const FONT = createRequire(import.meta.url).resolve("dejavu-fonts-ttf/ttf/DejaVuSans-Bold.ttf");

/** The latest images: tests request the same ones many times. */
const painted = new Map<string, Promise<Buffer>>();
const MAX_PAINTED = 64;

/** The longest duration of a frame that sharp writes. */
const MAX_FRAME_MS = 65_535;

/** Returns true if the simulator can paint an image of this type. */
export function isImageType(type: unknown): type is ImageType {
  return TYPES.some((known) => known === type);
}

/** Paints an image: a gradient in colours that depend on the prompt, with the prompt written on it. */
export function paint(painting: Painting): Promise<Buffer> {
  const name = JSON.stringify(painting);
  const known = painted.get(name);
  if (known !== undefined) return known;
  const image = paintNew(painting);
  painted.set(name, image);
  const oldest = painted.keys().next().value;
  if (painted.size > MAX_PAINTED && oldest !== undefined) painted.delete(oldest);
  return image;
}

async function paintNew(painting: Painting): Promise<Buffer> {
  const { type, compression } = painting;
  if (type === "svg") return paintSvg(painting);
  const image = await paintPixels(painting);
  switch (type) {
    case "png":
      return image.png({ compressionLevel: 6 }).toBuffer();
    case "jpeg":
      return image
        .flatten()
        .jpeg({ quality: Math.max(1, compression) })
        .toBuffer();
    case "webp":
      return image.webp({ quality: Math.max(1, compression) }).toBuffer();
    case "avif":
      return image.avif({ effort: 0 }).toBuffer();
    case "gif":
      return animate(image, painting);
  }
}

async function paintPixels(painting: Painting): Promise<Sharp> {
  const { prompt, width, height } = painting;
  const background = `
    <svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
      ${gradientOf(painting)}
    </svg>`;
  const words = await sharp({
    text: {
      text: `<span foreground="white">${escapeMarkup(prompt.slice(0, 200))}</span>`,
      fontfile: FONT,
      font: "DejaVu Sans Bold",
      rgba: true,
      align: "center",
      wrap: "word-char",
      width: Math.round(width * 0.8),
      height: Math.round(height * 0.5),
    },
  })
    .png()
    .toBuffer();
  return sharp(Buffer.from(background)).composite([{ input: words, gravity: "center" }]);
}

/** Returns an animated GIF: the image in each frame, over a bar that grows. Shortens frames that are too long. */
async function animate(image: Sharp, { frames, frameMs }: Painting): Promise<Buffer> {
  const { data, info } = await image
    .flatten()
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  const row = width * channels;
  const pixels = Buffer.alloc(data.byteLength * frames);
  for (let frame = 0; frame < frames; frame += 1) {
    const start = frame * data.byteLength;
    data.copy(pixels, start);
    const bar = Math.round((width * (frame + 1)) / frames) * channels;
    for (let y = Math.floor(height * 0.9); y < height; y += 1) {
      pixels.fill(255, start + y * row, start + y * row + bar);
    }
  }
  const raw = { width, height: height * frames, channels, pageHeight: height };
  const delay = Array.from({ length: frames }, () => Math.min(frameMs, MAX_FRAME_MS));
  // Few colours and no dithering: encoding is four times as fast.
  return sharp(pixels, { raw }).gif({ delay, colours: 8, effort: 1, dither: 0 }).toBuffer();
}

function escapeMarkup(prompt: string): string {
  // Pango rejects control characters, parses markup, and fails on text without visible characters.
  const text = prompt.replaceAll(/\p{Cc}/gu, " ").toWellFormed();
  if (text.trim() === "") return "…";
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
