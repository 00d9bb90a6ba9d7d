import { type PacketPath, pathLabel } from '../../src/report/packet-paths.ts';
import type { PacketRateFigure } from '../../src/report/packet-rate-figure.ts';

/** What was measured of one path with one size, medians of the rounds. Null: it was not. */
export interface PacketRate {
  readonly path: PacketPath;
  readonly containers: number;
  readonly payloadBytes: number;
  readonly packetsPerSec: number | null;
  /** How many times the packets of the NAT that is compared with. */
  readonly overNat: number | null;
  /** CPU a packet, of its whole way by one pinned thread that sends, and of the whole host while all send freely. */
  readonly wayUs: number | null;
  readonly hostUs: number | null;
}

/** Fits a terminal, and a page. */
const MOST_COLUMNS = 100;

interface Column {
  readonly head: string;
  readonly width: number;
  readonly text: (rate: PacketRate) => string;
}

/** What each size has. Three sizes fit beside the longest name of a path. */
const COLUMNS: readonly Column[] = [
  { head: 'pkts/s', width: 8, text: ({ packetsPerSec }) => orDash(packetsPerSec, short) },
  { head: '×NAT', width: 6, text: ({ overNat }) => orDash(overNat, fixed) },
  { head: 'way', width: 6, text: ({ wayUs }) => orDash(wayUs, fixed) },
  { head: 'host', width: 6, text: ({ hostUs }) => orDash(hostUs, fixed) },
];
const CELL = COLUMNS.reduce((total, { width }) => total + width, 0);

/** A table for each number of containers: a row a path, a group of columns a size. Sizes that do not fit stand below. */
export function packetRateTable(
  rates: readonly PacketRate[],
  { functions, over }: Pick<PacketRateFigure, 'functions' | 'over'>,
): string[] {
  const paths = [...new Set(rates.map(({ path }) => path))];
  const labels = paths.map((path) => pathLabel(path, functions));
  const gutter = Math.max(...labels.map((label) => label.length));
  const fitting = Math.max(1, Math.floor((MOST_COLUMNS - gutter) / CELL));
  const tables = [...Map.groupBy(rates, ({ containers }) => containers)]
    .toSorted(([a], [b]) => a - b)
    .flatMap(([containers, ofRatio]) => {
      const sizes = [...new Set(ofRatio.map(({ payloadBytes }) => payloadBytes))].toSorted((a, b) => a - b);
      const rateOf = (path: PacketPath, size: number): PacketRate | undefined =>
        ofRatio.find((rate) => rate.path === path && rate.payloadBytes === size);
      return chunks(sizes, fitting).flatMap((some, index) => [
        ...(index === 0
          ? ['', `1:${containers}, ${containers === 1 ? 'one container' : `${containers} containers`}`]
          : ['']),
        line(
          gutter,
          '',
          some.map((size) => `${size} B payload`.padStart(CELL)),
        ),
        line(
          gutter,
          '',
          some.map(() => COLUMNS.map(({ head, width }) => head.padStart(width)).join('')),
        ),
        ...paths.map((path, row) =>
          line(
            gutter,
            labels[row]!,
            some.map((size) => cell(rateOf(path, size))),
          ),
        ),
      ]);
    })
    .slice(1);
  const than = pathLabel(over, functions);
  return [...tables, '', `pkts/s: packets a second; ×NAT: over ${than}; CPU us a packet: way its own, host all`];
}

const line = (gutter: number, label: string, cells: readonly string[]): string =>
  `${label.padEnd(gutter)}${cells.join('')}`.trimEnd();

const cell = (rate: PacketRate | undefined): string =>
  COLUMNS.map(({ text, width }) => (rate === undefined ? '-' : text(rate)).padStart(width)).join('');

const orDash = (value: number | null, text: (value: number) => string): string => (value === null ? '-' : text(value));

const fixed = (value: number): string => value.toFixed(2);

/** `948`, `412 k`, `14.9 M`. */
function short(perSec: number): string {
  if (perSec < 999.5) return `${Math.round(perSec)}`;
  const [value, unit] = perSec < 999_500 ? [perSec / 1000, 'k'] : [perSec / 1e6, 'M'];
  return `${Number(value.toPrecision(3))} ${unit}`;
}

const chunks = <T>(items: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, index) => items.slice(index * size, (index + 1) * size));
