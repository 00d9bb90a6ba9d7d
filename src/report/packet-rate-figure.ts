import type { TopLevelSpec } from 'vega-lite';
import { drawSvg, INK, pngOf } from './draw.ts';
import { quantile } from './quantile.ts';
import { type Functions, type PacketPath, pathLabel } from './packet-paths.ts';

/** How many times the packets of NAT each path passed, by how many containers sent and how much each packet held. */
export interface PacketRateFigure {
  /** What is compared: a path's figure is of this over NAT's, or NAT's over this where less is better. */
  readonly measure: 'packets' | 'cpu';
  /** Which NAT is 1. */
  readonly over: 'nat' | 'docker-nat';
  readonly functions: Functions;
  /** `4 x Example CPU at 2.4 GHz, Linux 6.12, two namespaces of one machine`. */
  readonly machine: string;
  /** What sent: `sendmmsg`. */
  readonly generator: string;
  readonly bars: readonly Bar[];
}

interface Bar {
  readonly path: PacketPath;
  readonly containers: number;
  readonly payloadBytes: number;
  /** The improvement in each round. */
  readonly rounds: readonly number[];
}

/** Okabe and Ito's colours, told apart by the colour-blind; a path has the same in every figure. */
const COLOURS: Readonly<Record<PacketPath, string>> = {
  vf: '#0072b2',
  direct: '#56b4e9',
  macvlan: '#009e73',
  nat: '#e69f00',
  'docker-nat': '#d55e00',
  overlay: '#cc79a7',
};

/**
 * The figure as text of an SVG and bytes of a PNG.
 * @throws RangeError where a VF is to be drawn and there was none, or there is nothing to draw
 */
export async function drawPacketRates(figure: PacketRateFigure): Promise<{ svg: string; png: Uint8Array }> {
  if (figure.bars.length === 0) throw new RangeError('packet rates: there is no bar to draw');
  if (figure.functions === 'none' && figure.bars.some(({ path }) => path === 'vf'))
    throw new RangeError('packet rates: a bar is of a VF, where there was none');
  const { title, lines } = wordsOf(figure);
  const svg = await drawSvg(specOf(figure, title, lines), { title, description: describe(figure, lines) });
  return { svg, png: pngOf(svg) };
}

function wordsOf({ measure, over, functions, machine, generator, bars }: PacketRateFigure): {
  title: string;
  lines: string[];
} {
  const than = pathLabel(over, functions);
  const sizes = listOf(bars.map(({ payloadBytes }) => payloadBytes));
  const rounds = listOf(bars.map((bar) => bar.rounds.length));
  const spread = rounds === '1' ? 'one round' : `median of ${rounds} interleaved rounds; whiskers: the middle half`;
  return {
    title: `Improvement in ${MEASURED[measure]} over ${than}${functions === 'emulated' ? ', emulated: not a speed' : ''}`,
    lines: [
      machine,
      ...NOTES[functions],
      `UDP with ${sizes} bytes of payload, sent with ${generator}.`,
      `Bars: ${spread}. Dashed: ${than} itself.`,
    ],
  };
}

const MEASURED = { packets: 'packets per second', cpu: 'CPU per packet' } as const;

const NOTES: Readonly<Record<Functions, readonly string[]>> = {
  real: [],
  emulated: ['The VFs are real to the kernel, but their card is software of the virtual machine: not a speed.'],
  none: ["No SR-IOV here: direct (no VF) is its stand-in, a container's veth that ends on the wire."],
};

/** `1, 64 and 256`. */
const listOf = (numbers: readonly number[]): string =>
  [...new Set(numbers)]
    .toSorted((a, b) => a - b)
    .join(', ')
    .replace(/, (?=[^,]*$)/, ' and ');

function specOf({ bars, functions, over }: PacketRateFigure, title: string, lines: string[]): TopLevelSpec {
  const paths = (Object.keys(COLOURS) as PacketPath[]).filter((path) => bars.some((bar) => bar.path === path));
  const labels = paths.map((path) => pathLabel(path, functions));
  const values = bars.map(({ path, containers, payloadBytes, rounds }) => ({
    path: pathLabel(path, functions),
    ratio: ratioLabel(containers),
    containers,
    payloadBytes,
    median: quantile(rounds, 0.5),
    low: quantile(rounds, 0.25),
    high: quantile(rounds, 0.75),
  }));
  const top = Math.max(1, ...values.map(({ high }) => high));
  const scale = { domain: [0, top * 1.08], nice: false };
  const y = {
    type: 'quantitative',
    scale,
    axis: { title: `times ${pathLabel(over, functions)}`, tickCount: 6 },
  } as const;
  const label = { dy: -8, fontSize: 10, color: INK } as const;
  const labelled = {
    y: { field: 'high', ...y },
    text: { field: 'median', type: 'quantitative', format: '.2f' },
  } as const;
  const whisker = { color: INK, strokeWidth: 1 } as const;
  const byPath = {
    x: {
      field: 'payloadBytes',
      type: 'ordinal',
      axis: { title: null, labelAngle: 0, labelExpr: "datum.value + ' B'", tickSize: 0, labelPadding: 6 },
      scale: { paddingInner: 0.12, paddingOuter: 0.06 },
    },
    xOffset: { field: 'path', type: 'nominal', sort: labels, scale: { paddingOuter: 0.1, paddingInner: 0.08 } },
  } as const;
  return {
    data: { values },
    title: { text: title, subtitle: lines, subtitlePadding: 6, offset: 14 },
    padding: 16,
    spacing: 14,
    facet: {
      column: {
        field: 'ratio',
        type: 'nominal',
        sort: { field: 'containers', op: 'min' },
        header: { title: null, labelOrient: 'bottom', labelFontWeight: 600, labelPadding: 6 },
      },
    },
    spec: {
      height: 280,
      width: { step: 26 },
      layer: [
        {
          mark: { type: 'bar' },
          encoding: {
            ...byPath,
            y: { field: 'median', ...y },
            color: {
              field: 'path',
              type: 'nominal',
              scale: { domain: labels, range: paths.map((path) => COLOURS[path]) },
              legend: { orient: 'bottom', direction: 'horizontal', symbolType: 'square', columnPadding: 16 },
            },
          },
        },
        // Above the bars, and below what is written.
        { mark: { type: 'rule', color: INK, strokeDash: [5, 3] }, encoding: { y: { datum: 1 } } },
        {
          mark: { type: 'rule', ...whisker },
          encoding: { ...byPath, y: { field: 'low', ...y }, y2: { field: 'high' } },
        },
        ...(['low', 'high'] as const).map((field) => ({
          mark: { type: 'tick', size: 7, thickness: 1, color: INK, orient: 'horizontal' } as const,
          encoding: { ...byPath, y: { field, ...y } },
        })),
        { mark: { type: 'text', ...label, stroke: 'white', strokeWidth: 5 }, encoding: { ...byPath, ...labelled } },
        { mark: { type: 'text', ...label }, encoding: { ...byPath, ...labelled } },
      ],
    },
  };
}

/** `1:4`, as containers to a wire. */
const ratioLabel = (containers: number): string =>
  `${containers === 1 ? 'one container' : `${containers} containers`} (1:${containers})`;

/** All figures in words. */
function describe({ bars, functions }: PacketRateFigure, lines: readonly string[]): string {
  const said = bars.map(({ path, containers, payloadBytes, rounds }) => {
    const [low, middle, high] = [0.25, 0.5, 0.75].map((share) => quantile(rounds, share).toFixed(2));
    return `${pathLabel(path, functions)}, ${ratioLabel(containers)}, ${payloadBytes} B: ${middle} (${low} to ${high})`;
  });
  return `${lines.map((line) => line.replace(/\.?$/, '.')).join(' ')} ${said.join('; ')}.`;
}
