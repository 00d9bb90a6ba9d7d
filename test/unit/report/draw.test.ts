import { expect, test } from 'vitest';
import { drawSvg, pngOf } from '../../../src/report/draw.ts';

const svg = (inside: string, font = 'Inter'): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="60" height="20"><g font-family="${font}">${inside}</g></svg>`;
const text = '<text x="2" y="15">plimsoll</text>';

test('a PNG has twice the points of the drawing', () => {
  const png = Buffer.from(pngOf(svg('')));
  expect(png.subarray(1, 4).toString()).toBe('PNG');
  expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([120, 40]);
});

test('its letters are of the font that comes along, whatever fonts there are', () => {
  expect(Buffer.from(pngOf(svg(text))).equals(pngOf(svg('')))).toBe(false);
  expect(Buffer.from(pngOf(svg(text))).equals(pngOf(svg(text, 'DejaVu Sans')))).toBe(true);
  // The titles' weight is there too.
  expect(Buffer.from(pngOf(svg(text))).equals(pngOf(svg(text.replace('<text', '<text font-weight="600"'))))).toBe(
    false,
  );
});

test('a drawing says what it is to those who do not see it', async () => {
  const drawn = await drawSvg(
    { data: { values: [{ a: 1 }] }, mark: 'bar', encoding: { y: { field: 'a', type: 'quantitative' } } },
    { title: 'a & b', description: '1 < 2' },
  );
  expect(drawn).toContain('<title id="title">a &amp; b</title><desc id="desc">1 &lt; 2</desc>');
});
