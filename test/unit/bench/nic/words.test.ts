import { expect, test } from 'vitest';
import { HOPS, type HopCounts, type PacketCosts } from '../../../../backends/sim/packet-costs.ts';
import { limitLines } from '../../../../bench/nic/ceiling.ts';
import type { JudgedCase } from '../../../../bench/nic/fit.ts';
import { Latencies } from '../../../../bench/nic/latencies.ts';
import { limitsTable } from '../../../../bench/nic/limits-table.ts';
import { predictionLines } from '../../../../bench/nic/predictions.ts';
import { caseOf, measured, rate } from './measured.ts';

test('whether the path or its sender is the limit is told of each', () => {
  const given = measured({
    full: [
      { of: caseOf('direct'), is: [rate(1000), rate(1100), rate(900)] },
      { of: caseOf('macvlan'), is: [rate(950)] },
      { of: caseOf('docker-nat'), is: [rate(400)] },
      { of: caseOf('overlay'), is: [] },
    ],
    ceilings: [{ of: caseOf('direct'), is: rate(2900) }],
  });
  expect(limitLines(given, 'none')).toEqual([
    'direct (no VF), 64 B: the sender is the limit: in messages of 32 datagrams it passes 2.9 times as many',
    'the path is the limit: NAT (Docker)',
    "not told from the sender's own limit: macvlan",
  ]);
  const slow = { ...given, ceilings: [{ of: caseOf('direct'), is: rate(1050) }] };
  expect(limitLines(slow, 'none')[0]).toContain('the path is the limit');
  expect(limitLines({ ...given, ceilings: [] }, 'none')).toEqual([
    'whether a path or its sender limits its rate was not measured',
  ]);
  expect(limitLines(measured({}), 'none')).toEqual([]);
});

test('rates without loss stand beside latencies and answers', () => {
  const latencies = new Latencies();
  for (let each = 1; each <= 100; each++) latencies.add(each);
  const found = (packetsPerSec: number) => ({
    loss: 0,
    packetsPerSec,
    receivedPerSec: packetsPerSec,
    tooHighPacketsPerSec: null,
    limit: packetsPerSec > 410_000 ? ('generator' as const) : ('path' as const),
  });
  const taken = { count: 100, lost: 0, perSec: 12_345, latencies };
  const of = caseOf('nat');
  const lines = limitsTable(
    measured({
      frames: [{ of, is: { ndr: found(400_000), pdr: found(412_345) } }],
      latencies: [{ of, is: { load: 0.5, taken } }],
      transactions: [{ of, is: { protocol: 'tcp', taken } }],
    }),
    'none',
  );
  expect(lines.slice(0, 2)).toEqual([
    '                            NDR     PDR     at 10 %     at 50 %     at 90 %  UDP RR  TCP RR',
    'NAT (Plimsoll) 1:1 64 B   400 k  ≥412 k           -     50 / 99           -       -  12.3 k',
  ]);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
  expect(limitsTable(measured({}), 'none')).toEqual([]);
});

test('predictions stand beside what was measured, a path a line, the furthest apart told', () => {
  const hops = Object.fromEntries(HOPS.map((hop) => [hop, 0])) as HopCounts as Record<(typeof HOPS)[number], number>;
  const one = (path: string, us: number, predictedUs: number, held: boolean): JudgedCase => ({
    path,
    payloadBytes: 64,
    containers: 1,
    hops,
    us,
    predictedUs,
    held,
  });
  const cases = [
    one('routed', 1, 1.1, true),
    one('routed', 2, 2.02, true),
    one('nat', 3, 3, true),
    one('nat', 3, 3, false),
  ];
  const costs: PacketCosts = { nsPerHop: hops, nsPerByte: 0, about: 'a test' };
  expect(predictionLines({ costs, cases, errorMax: 0.1 })).toEqual([
    'CPU of a packet in us, predicted and measured, of the 3 cases that nothing was fitted to; at most 10.0 % apart:',
    '  routed   1.560   1.500   10.0 %  no case of it was fitted',
    '  nat      3.000   3.000    0.0 %',
  ]);
});
