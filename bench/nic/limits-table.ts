import type { Functions, PacketPath } from '../../src/report/packet-paths.ts';
import { pathLabel } from '../../src/report/packet-paths.ts';
import { caseName, type NicCase } from './costs.ts';
import { LOADS } from './latency.ts';
import type { NicMeasured } from './nic.ts';
import type { FoundRate } from './search.ts';

const HEADS = ['NDR', 'PDR', ...LOADS.map((load) => `at ${load * 100} %`), 'UDP RR', 'TCP RR'] as const;
const WIDTHS = [8, 8, ...LOADS.map(() => 12), 8, 8] as const;

/** Of each path, size and ratio what it passes without loss, how long a packet takes meanwhile, and how many questions are answered. */
export function limitsTable({ frames, latencies, transactions }: NicMeasured, functions: Functions): string[] {
  if (frames.length === 0) return [];
  const labels = frames.map(({ of }) => labelOf(of, functions));
  const gutter = Math.max(...labels.map((label) => label.length));
  const rows = frames.map(({ of, is }, index) => {
    const name = caseName(of);
    const latency = (load: number): string => {
      const found = latencies.find((each) => caseName(each.of) === name && each.is.load === load)?.is.taken;
      return found === undefined || found.count === 0
        ? '-'
        : [0.5, 0.99].map((share) => Math.round(found.latencies.percentileUs(share))).join(' / ');
    };
    const perSec = (protocol: 'udp' | 'tcp'): string => {
      const found = transactions.find((each) => caseName(each.of) === name && each.is.protocol === protocol);
      return found === undefined ? '-' : thousands(found.is.taken.perSec);
    };
    const cells = [atLeast(is.ndr), atLeast(is.pdr), ...LOADS.map(latency), perSec('udp'), perSec('tcp')];
    return line(labels[index]!.padEnd(gutter), cells);
  });
  return [
    line(' '.repeat(gutter), HEADS),
    ...rows,
    '',
    'NDR, PDR: packets/s without loss and with 0.5 % at most, ≥ where no more was sent;',
    'at a share of PDR: us there and back, p50 / p99; RR: answers/s',
  ];
}

const labelOf = ({ path, containers, payloadBytes }: NicCase, functions: Functions): string =>
  `${pathLabel(path.name as PacketPath, functions)} 1:${containers} ${payloadBytes} B`;

const line = (label: string, cells: readonly string[]): string =>
  `${label}${cells.map((cell, index) => cell.padStart(WIDTHS[index]!)).join('')}`;

/** Where nothing was lost at the most that was sent, the path may pass more. */
const atLeast = ({ packetsPerSec, limit }: FoundRate): string =>
  `${limit === 'path' ? '' : '≥'}${thousands(packetsPerSec)}`;

const thousands = (perSec: number): string => `${Number((perSec / 1000).toPrecision(3))} k`;
