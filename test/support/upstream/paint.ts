import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import sharp from "sharp";

/** What a picture is to be. */
export interface Painting {
  prompt: string;
  /** Of several pictures for one prompt, this one; each is another. */
  index: number;
  width: number;
  height: number;
  format: "png" | "jpeg" | "webp";
  transparent: boolean;
  /** 0..100: how much quality is kept, for jpeg and webp. */
  compression: number;
}

// Ships with the project, so that the pictures are the same on a machine without fonts.
const FONT = createRequire(import.meta.url).resolve("dejavu-fonts-ttf/ttf/DejaVuSans-Bold.ttf");

/** Pictures that were painted already: tests ask for the same ones again and again. */
const painted = new Map<string, Promise<Buffer>>();
const KEPT_PAINTINGS = 64;

/** Paints a picture: a gradient in the prompt's own colours, with the prompt written on it. */
export function paint(painting: Painting): Promise<Buffer> {
  const name = JSON.stringify(painting);
  const known = painted.get(name);
  if (known !== undefined) return known;
  const picture = paintNew(painting);
  painted.set(name, picture);
  const oldest = painted.keys().next().value;
  if (painted.size > KEPT_PAINTINGS && oldest !== undefined) painted.delete(oldest);
  return picture;
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
  const picture = sharp(Buffer.from(background)).composite([{ input: words, gravity: "center" }]);
  switch (format) {
    case "png":
      return picture.png({ compressionLevel: 6 }).toBuffer();
    case "jpeg":
      return picture
        .flatten()
        .jpeg({ quality: Math.max(1, compression) })
        .toBuffer();
    case "webp":
      return picture.webp({ quality: Math.max(1, compression) }).toBuffer();
  }
}

function escapeMarkup(prompt: string): string {
  // Pango refuses control characters, reads markup, and has nothing to draw for a blank.
  const text = prompt.replaceAll(/\p{Cc}/gu, " ").toWellFormed();
  if (text.trim() === "") return "…";
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
