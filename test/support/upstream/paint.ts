import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import sharp from "sharp";

/** The properties of an image. */
export interface Painting {
  prompt: string;
  /** The position among the images for one prompt. Each looks different. */
  index: number;
  width: number;
  height: number;
  format: "png" | "jpeg" | "webp";
  transparent: boolean;
  /** The quality of jpeg and webp, 0 to 100. */
  compression: number;
}

// A dependency of the project, so that images are the same on a machine without fonts.
const FONT = createRequire(import.meta.url).resolve("dejavu-fonts-ttf/ttf/DejaVuSans-Bold.ttf");

/** The latest images: tests request the same ones many times. */
const painted = new Map<string, Promise<Buffer>>();
const MAX_PAINTED = 64;

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
  const { prompt, index, width, height, format, transparent, compression } = painting;
  const hash = createHash("sha256").update(`${index}:${prompt}`).digest();
  const hue = (hash.readUInt16BE(0) / 65_535) * 360;
  const angle = hash.readUInt8(2) / 255;
  const opacity = transparent ? 0 : 1;
  const background = `
    <svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
      <defs>
        <linearGradient id="g" x1="${angle}" y1="0" x2="${1 - angle}" y2="1">
          <stop offset="0" stop-color="hsl(${hue}, 70%, 55%)" stop-opacity="${opacity}"/>
          <stop offset="1" stop-color="hsl(${(hue + 70) % 360}, 75%, 30%)"/>
        </linearGradient>
      </defs>
      <rect width="100%" height="100%" fill="url(#g)"/>
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
  const image = sharp(Buffer.from(background)).composite([{ input: words, gravity: "center" }]);
  switch (format) {
    case "png":
      return image.png({ compressionLevel: 6 }).toBuffer();
    case "jpeg":
      return image
        .flatten()
        .jpeg({ quality: Math.max(1, compression) })
        .toBuffer();
    case "webp":
      return image.webp({ quality: Math.max(1, compression) }).toBuffer();
  }
}

function escapeMarkup(prompt: string): string {
  // Pango rejects control characters, parses markup, and fails on text without visible characters.
  const text = prompt.replaceAll(/\p{Cc}/gu, " ").toWellFormed();
  if (text.trim() === "") return "…";
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
