import { describe, expect, test } from 'vitest';
import { drawPacketRates, type PacketRateFigure } from '../../../src/report/packet-rate-figure.ts';

type Bar = PacketRateFigure['bars'][number];

const bar = (path: Bar['path'], containers: number, payloadBytes: number, middle: number): Bar => ({
  path,
  containers,
  payloadBytes,
  rounds: [middle * 1.5, middle * 0.9, middle, middle * 1.1, middle * 0.5],
});
const figure: PacketRateFigure = {
  measure: 'packets',
  over: 'nat',
  functions: 'none',
  machine: '2 CPUs of a kind <fast>, Linux 6.18',
  generator: 'sendmmsg',
  bars: [
    bar('overlay', 1, 64, 0.5),
    bar('direct', 4, 64, 2),
    bar('direct', 1, 256, 2),
    bar('direct', 1, 64, 2.25),
    bar('docker-nat', 1, 64, 0.75),
  ],
};

/** Of each bar its label and height in points, as drawn. */
const barsOf = (svg: string): { label: string; left: number; height: number; colour: string }[] =>
  [
    ...svg.matchAll(
      /aria-label="(?<label>[^"]*)"[^>]*"bar" d="M(?<left>[\d.]+)[^h]*h[^v]*v(?<height>[\d.]+)h[^>]*fill="(?<colour>[^"]*)"/g,
    ),
  ].map(({ groups }) => ({
    label: groups!['label']!.replace(/median: [^;]*; /, ''),
    left: Number(groups!['left']),
    height: Number(groups!['height']),
    colour: groups!['colour']!,
  }));
const textsOf = (svg: string): string[] =>
  [...svg.matchAll(/<(?:text|tspan)[^>]*>(?<text>[^<]+)</g)].map(({ groups }) => groups!['text']!);

describe('the figure of packet rates', () => {
  test('has a bar for each path, as high as its median, in an order of its own', async () => {
    const { svg } = await drawPacketRates(figure);
    const bars = barsOf(svg);
    expect(bars.map(({ label }) => label).toSorted()).toEqual([
      'payloadBytes: 256; path: direct (no VF)',
      'payloadBytes: 64; path: NAT (Docker)',
      'payloadBytes: 64; path: direct (no VF)',
      'payloadBytes: 64; path: direct (no VF)',
      'payloadBytes: 64; path: overlay (VXLAN)',
    ]);
    const heights = bars.map(({ height }) => height).toSorted((a, b) => a - b);
    for (const [index, median] of [0.5, 0.75, 2, 2, 2.25].entries())
      expect(heights[index]! / heights[0]!).toBeCloseTo(median / 0.5, 3);
    const texts = textsOf(svg);
    expect(texts.indexOf('one container (1:1)')).toBeLessThan(texts.indexOf('4 containers (1:4)'));
    expect(texts.indexOf('64 B')).toBeLessThan(texts.indexOf('256 B'));
    expect(texts.filter((text) => /^(?:direct|NAT|overlay)/.test(text))).toEqual([
      'direct (no VF)',
      'NAT (Docker)',
      'overlay (VXLAN)',
    ]);
    expect(texts).toEqual(expect.arrayContaining(['2.25', '0.0']));
    // The bar of four containers stands in another panel.
    const group = bars.filter(({ label, height }) => label.startsWith('payloadBytes: 64') && height !== heights[2]);
    expect(group.toSorted((a, b) => a.left - b.left).map(({ label }) => label.split('path: ')[1])).toEqual([
      'direct (no VF)',
      'NAT (Docker)',
      'overlay (VXLAN)',
    ]);
  });

  test('says what was measured, on what, and that there was no VF', async () => {
    const texts = textsOf((await drawPacketRates(figure)).svg);
    expect(texts).toEqual(
      expect.arrayContaining([
        'Improvement in packets per second over NAT (Plimsoll)',
        '2 CPUs of a kind &lt;fast&gt;, Linux 6.18',
        'UDP with 64 and 256 bytes of payload, sent with sendmmsg.',
        'Bars: median of 5 interleaved rounds; whiskers: the middle half. Dashed: NAT (Plimsoll) itself.',
        "No SR-IOV here: direct (no VF) is its stand-in, a container's veth that ends on the wire.",
      ]),
    );
    expect(texts.filter((text) => text.startsWith('SR-IOV'))).toEqual([]);
  });

  test('of emulated VFs says that it is not a speed, in its title and its legend', async () => {
    const emulated = { ...figure, functions: 'emulated', measure: 'cpu', bars: [bar('vf', 1, 64, 3)] } as const;
    const texts = textsOf((await drawPacketRates(emulated)).svg);
    expect(texts).toContain('Improvement in CPU per packet over NAT (Plimsoll), emulated: not a speed');
    expect(texts).toContain('SR-IOV VF (emulated)');
  });

  test('of a card says nothing of the kind', async () => {
    const real = { ...figure, functions: 'real', bars: [bar('vf', 1, 64, 3), bar('direct', 1, 64, 2)] } as const;
    const { svg } = await drawPacketRates(real);
    expect(svg).not.toMatch(/emulated|No SR-IOV/);
    expect(new Set(barsOf(svg).map(({ colour }) => colour)).size).toBe(2);
  });

  test('of one round has no whiskers to tell of', async () => {
    const quick = { ...figure, bars: [{ ...bar('direct', 1, 1, 2), rounds: [2] }] };
    expect(textsOf((await drawPacketRates(quick)).svg)).toContain('Bars: one round. Dashed: NAT (Plimsoll) itself.');
  });

  test('is told in words too, escaped, and needs nothing from elsewhere', async () => {
    const { svg } = await drawPacketRates(figure);
    expect(svg).toMatch(/^<svg role="img" aria-labelledby="title desc"/);
    expect(svg).toContain('<title id="title">Improvement in packets per second over NAT (Plimsoll)</title>');
    expect(svg).toMatch(
      /<desc id="desc">2 CPUs of a kind &lt;fast&gt;, Linux 6\.18\. .*direct \(no VF\), one container \(1:1\), 64 B: 2\.25 \(2\.02 to 2\.48\)/,
    );
    expect(svg.replaceAll(/ xmlns(?::xlink)?="[^"]*"/g, '')).not.toMatch(/href|url\(|https?:|<script|<image|@import/);
  });

  test('is the same each time', async () => {
    const [a, b] = [await drawPacketRates(figure), await drawPacketRates(figure)];
    expect(b.svg).toBe(a.svg);
    expect(Buffer.from(b.png).equals(a.png)).toBe(true);
  });

  test('is refused where it would call something a VF that is none, and where there is nothing', async () => {
    await expect(drawPacketRates({ ...figure, bars: [bar('vf', 1, 1, 2)] })).rejects.toThrow('where there was none');
    await expect(drawPacketRates({ ...figure, bars: [] })).rejects.toThrow('no bar to draw');
  });
});
