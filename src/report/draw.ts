import { fileURLToPath } from 'node:url';
import { Resvg } from '@resvg/resvg-js';
import * as vega from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';

/** What a drawing says to those who do not see it. */
export interface Caption {
  readonly title: string;
  readonly description: string;
}

/** Comes with a package, so that a drawing looks the same on a machine that has no fonts. */
const FONT = 'Inter';
const FONT_FILES = [
  import.meta.resolve('@expo-google-fonts/inter/400Regular/Inter_400Regular.ttf'),
  import.meta.resolve('@expo-google-fonts/inter/600SemiBold/Inter_600SemiBold.ttf'),
];
/** Where an SVG is shown the font may be missing: these are as wide, or a little narrower. */
const FONTS = `${FONT}, Helvetica, Arial, sans-serif`;

/** Pixels of a PNG for one of the drawing: sharp in print and on a fine screen. */
const PNG_SCALE = 2;

/** A letter of it is as wide as this share of its height, on average: what Vega asks of a canvas where there is one. */
const LETTER_WIDTH = 0.52;

/** Of all that is written and ruled. */
export const INK = '#222222';
const FAINT = '#dddddd';

/** All drawings look alike. */
const STYLE: NonNullable<TopLevelSpec['config']> = {
  font: FONTS,
  background: 'white',
  view: { stroke: null },
  title: { color: INK, subtitleColor: '#444444', fontSize: 15, fontWeight: 600, subtitleFontSize: 12, anchor: 'start' },
  axis: {
    labelColor: INK,
    titleColor: INK,
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: 400,
    gridColor: FAINT,
    domainColor: INK,
    tickColor: INK,
  },
  header: { labelColor: INK, titleColor: INK, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 400 },
  legend: { labelColor: INK, labelFontSize: 12, labelLimit: 0, title: null },
};

/** Vega exports these, and its types do not tell. */
const { textMetrics } = vega as unknown as {
  textMetrics: { width: (item: { fontSize: number }, text: string | number) => number };
};
textMetrics.width = ({ fontSize }, text) => LETTER_WIDTH * fontSize * `${text}`.length;

/** Draws a Vega-Lite specification as an SVG that needs no other file. */
export async function drawSvg(spec: TopLevelSpec, { title, description }: Caption): Promise<string> {
  const runtime = vega.parse(compile(spec, { config: STYLE }).spec);
  const view = new vega.View(runtime, { renderer: 'none', logLevel: vega.Error });
  try {
    const svg = await view.toSVG();
    const told = `<title id="title">${escapeText(title)}</title><desc id="desc">${escapeText(description)}</desc>`;
    return svg.replace(
      /<svg(?<attributes>[^>]*)>/,
      `<svg role="img" aria-labelledby="title desc"$<attributes>>${told}`,
    );
  } finally {
    view.finalize();
  }
}

/** The same picture as points of colour. */
export function pngOf(svg: string): Uint8Array {
  const font = {
    loadSystemFonts: false,
    fontFiles: FONT_FILES.map((file) => fileURLToPath(file)),
    defaultFontFamily: FONT,
    sansSerifFamily: FONT,
  };
  return new Resvg(svg, { font, fitTo: { mode: 'zoom', value: PNG_SCALE } }).render().asPng();
}

const escapeText = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
