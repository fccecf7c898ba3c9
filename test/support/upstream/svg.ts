import { createHash } from "node:crypto";
import type { Painting } from "./paint.ts";

const NAMESPACE = "http://www.w3.org/2000/svg";
const UTF_16_DECLARATION = '\uFEFF<?xml version="1.0" encoding="UTF-16"?>\n';

/** Forms of the same SVG document. All are valid, and browsers show them. */
const FORMS = {
  // As Adobe Illustrator writes it: the namespace is an entity.
  doctype: (svg: string) =>
    Buffer.from(`<?xml version="1.0" encoding="utf-8"?>
<!-- Generator: > -->
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [
  <!ENTITY ns_svg "${NAMESPACE}">
]>
${svg.replace(NAMESPACE, "&ns_svg;")}`),
  prefix: (svg: string) =>
    Buffer.from(
      svg
        .replaceAll(/<(?=\w)/g, "<svg:")
        .replaceAll("</", "</svg:")
        .replace("xmlns", "xmlns:svg"),
    ),
  "utf-16le": (svg: string) => Buffer.from(UTF_16_DECLARATION + svg, "utf16le"),
  "utf-16be": (svg: string) => Buffer.from(UTF_16_DECLARATION + svg, "utf16le").swap16(),
};

export type SvgForm = keyof typeof FORMS;

/** Returns true if the simulator writes SVG documents in this form. */
export function isSvgForm(form: string | undefined): form is SvgForm {
  return form !== undefined && form in FORMS;
}

/** Paints an SVG document in its form. */
export function paintSvg(painting: Painting): Buffer {
  const svg = svgText(painting);
  return painting.svgForm === undefined ? Buffer.from(svg) : FORMS[painting.svgForm](svg);
}

/** Returns an SVG document: the gradient, and the prompt as text. */
function svgText(painting: Painting): string {
  const { prompt, width, height, trackUrl } = painting;
  const attack = trackUrl === undefined ? undefined : attackOf(trackUrl);
  const fontSize = Math.round(Math.min(width, height) / 16);
  return `<svg xmlns="${NAMESPACE}" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"${attack?.attribute ?? ""}>
  ${gradientOf(painting)}
  <text x="50%" y="50%" fill="white" font-family="sans-serif" font-size="${fontSize}" text-anchor="middle">${escapeXml(prompt)}</text>${attack?.elements ?? ""}
</svg>
`;
}

/** Returns SVG elements that fill the canvas with a gradient. Its colours depend on the prompt. */
export function gradientOf({ prompt, index, seed, transparent }: Painting): string {
  const origin = seed === undefined ? `${index}` : `${index}:${JSON.stringify(seed)}`;
  const hash = createHash("sha256").update(`${origin}:${prompt}`).digest();
  const hue = (hash.readUInt16BE(0) / 65_535) * 360;
  const angle = hash.readUInt8(2) / 255;
  const opacity = transparent ? 0 : 1;
  return `<defs>
    <linearGradient id="g" x1="${angle}" y1="0" x2="${1 - angle}" y2="1">
      <stop offset="0" stop-color="hsl(${hue}, 70%, 55%)" stop-opacity="${opacity}"/>
      <stop offset="1" stop-color="hsl(${(hue + 70) % 360}, 75%, 30%)"/>
    </linearGradient>
  </defs>
  <rect width="100%" height="100%" fill="url(#g)"/>`;
}

/** Returns the parts of a document that request URLs below `trackUrl`, if a browser lets them. */
function attackOf(trackUrl: string) {
  return {
    attribute: ` onload="fetch('${trackUrl}onload')"`,
    elements: `
  <script><![CDATA[
    document.title = "hacked";
    if (1 < 2 && window.top) fetch("${trackUrl}script");
  ]]></script>
  <image href="${trackUrl}external" width="1" height="1"/>
  <a href="${trackUrl}link"><rect width="100%" height="100%" fill="transparent"/></a>`,
  };
}

function escapeXml(text: string): string {
  // XML has no control characters, no unpaired surrogates, and not the two noncharacters.
  return text
    .replaceAll(/[\p{Cc}\uFFFE\uFFFF]/gu, " ")
    .toWellFormed()
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;");
}
