import { expect, test } from 'vitest';
import { type PacketRate, packetRateTable } from '../../../../bench/nic/table.ts';

const rate = (path: PacketRate['path'], containers: number, payloadBytes: number, overNat: number): PacketRate => ({
  path,
  containers,
  payloadBytes,
  packetsPerSec: 188_000 * overNat,
  overNat,
  wayUs: 2.4 / overNat,
  hostUs: 2.9 / overNat,
});

test('a row a path, a group of columns a size, a table a ratio', () => {
  const rates = [1, 4].flatMap((containers) =>
    [256, 1, 64].flatMap((size) => [
      rate('direct', containers, size, 2.16),
      rate('nat', containers, size, 1),
      rate('overlay', containers, size, 0.6),
    ]),
  );
  const table = [
    '                              1 B payload              64 B payload             256 B payload',
    '                 pkts/s  ×NAT   way  host  pkts/s  ×NAT   way  host  pkts/s  ×NAT   way  host',
    'direct (no VF)    406 k  2.16  1.11  1.34   406 k  2.16  1.11  1.34   406 k  2.16  1.11  1.34',
    'NAT (Plimsoll)    188 k  1.00  2.40  2.90   188 k  1.00  2.40  2.90   188 k  1.00  2.40  2.90',
    'overlay (VXLAN)   113 k  0.60  4.00  4.83   113 k  0.60  4.00  4.83   113 k  0.60  4.00  4.83',
    '',
  ];
  expect(packetRateTable(rates, { functions: 'none', over: 'nat' })).toEqual([
    '1:1, one container',
    ...table,
    '1:4, 4 containers',
    ...table,
    'pkts/s: packets a second; ×NAT: over NAT (Plimsoll); CPU us a packet: way its own, host all',
  ]);
});

test('what was not measured is a dash, and no nought', () => {
  const unmeasured = { ...rate('vf', 1, 64, 3), packetsPerSec: null, overNat: null, hostUs: null };
  const lines = packetRateTable([unmeasured, rate('nat', 1, 64, 1), rate('nat', 1, 256, 1)], {
    functions: 'real',
    over: 'docker-nat',
  });
  expect(lines.find((line) => line.startsWith('SR-IOV VF'))).toMatch(/VF +- +- +0\.80 +-( +-){4}$/);
});

test('sizes that do not fit stand below, and no line is longer than a hundred columns', () => {
  const sizes = [1, 64, 128, 256, 512, 1024, 1472];
  const lines = packetRateTable(
    sizes.flatMap((size) => [rate('vf', 16, size, 3), rate('nat', 16, size, 1)]),
    { functions: 'emulated', over: 'docker-nat' },
  );
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
  expect(lines.filter((line) => line.startsWith('SR-IOV VF (emulated)'))).toHaveLength(3);
  expect(lines.join('\n').match(/\d+ B payload/g)).toEqual(sizes.map((size) => `${size} B payload`));
  expect(Math.max(...lines.map((line) => line.length))).toBeGreaterThan(90);
  expect(lines.filter((line) => line.startsWith('1:16'))).toEqual(['1:16, 16 containers']);
});

test.for([
  [0, '0'],
  [948.4, '948'],
  [999.6, '1 k'],
  [12_345, '12.3 k'],
  [412_345, '412 k'],
  [999_600, '1 M'],
  [14_880_952, '14.9 M'],
] as const)('%d packets a second are %s', ([packetsPerSec, text]) => {
  const lines = packetRateTable([{ ...rate('nat', 1, 64, 1), packetsPerSec }], {
    functions: 'none',
    over: 'docker-nat',
  });
  expect(lines.at(-3)).toMatch(new RegExp(` ${text} +1\\.00 `));
});
