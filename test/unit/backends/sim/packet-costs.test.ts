import { expect, test } from 'vitest';
import { calibrationSchema, SHIPPED_COSTS } from '../../../../backends/sim/calibration.ts';
import { costNs, type Hop, HOPS, type HopCounts, type PacketCosts } from '../../../../backends/sim/packet-costs.ts';
import shipped from '../../../../backends/sim/calibrations/shipped.json' with { type: 'json' };

const hops = (counts: Partial<HopCounts>): HopCounts => ({
  ...(Object.fromEntries(HOPS.map((hop) => [hop, 0])) as Record<Hop, number>),
  ...counts,
});
const costs = (nsPerHop: Partial<Record<Hop, number | null>>, nsPerByte = 0): PacketCosts => ({
  nsPerHop: { ...(Object.fromEntries(HOPS.map((hop) => [hop, 1])) as Record<Hop, number>), ...nsPerHop },
  nsPerByte,
  about: 'made up',
});

test('a packet costs what its hops and its bytes do', () => {
  expect(costNs(hops({ send: 1, veth: 2, match: 3 }), 100, costs({ send: 1000, veth: 200, match: 10 }, 0.5))).toBe(
    1480,
  );
});

test('what is not calibrated has no price, and costs nobody anything who does not pass it', () => {
  expect(() => costNs(hops({ vf: 1 }), 0, costs({ vf: null }))).toThrow(
    new RangeError("what a packet's vf costs is not calibrated"),
  );
  expect(costNs(hops({ wire: 1 }), 0, costs({ vf: null }))).toBe(1);
});

test('the shipped calibration prices every hop but that of a VF, which it may', () => {
  const { nsPerHop } = SHIPPED_COSTS;
  expect(HOPS.filter((hop) => nsPerHop[hop] === null)).toEqual(nsPerHop.vf === null ? ['vf'] : []);
});

test('a calibration that lacks a hop, or has another, is none', () => {
  const { veth: _, ...lacking } = shipped.nsPerHop;
  expect(calibrationSchema.safeParse(shipped).success).toBe(true);
  expect(calibrationSchema.safeParse({ ...shipped, nsPerHop: lacking }).success).toBe(false);
  expect(calibrationSchema.safeParse({ ...shipped, nsPerHop: { ...shipped.nsPerHop, hop: 1 } }).success).toBe(false);
  expect(calibrationSchema.safeParse({ ...shipped, nsPerHop: { ...shipped.nsPerHop, veth: -1 } }).success).toBe(false);
});
