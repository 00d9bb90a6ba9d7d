import { expect, test } from 'vitest';
import { type Flow, ratesOf, type Stage } from '../../../../backends/sim/flow-rates.ts';
import { shareOf } from '../../../../backends/sim/htb-shares.ts';

/** A FIFO. */
const pipe = (perSec: number): Stage => ({ share: (wants) => shareOf(wants, perSec) });
const flow = (isElastic: boolean, stages: readonly Stage[], offeredPerSec = Infinity): Flow => ({
  steps: stages.map((stage) => ({ stage, into: null, perPacket: 1 })),
  isElastic,
  offeredPerSec,
});
const arriving = (flows: readonly Flow[]) => ratesOf(flows).map(({ arrivingPerSec }) => Math.round(arrivingPerSec));

test('what slows down leaves to others what it does not need', () => {
  const [shared, narrow] = [pipe(100), pipe(20)];
  expect(arriving([flow(true, [shared, narrow]), flow(true, [shared])])).toEqual([20, 80]);
  expect(arriving([flow(true, [narrow, shared]), flow(true, [shared]), flow(true, [shared])])).toEqual([20, 40, 40]);
});

test('what does not slow down takes room where it is lost later', () => {
  const [shared, narrow] = [pipe(100), pipe(20)];
  const rates = ratesOf([flow(false, [shared, narrow], 60), flow(true, [shared])]);
  expect(rates.map(({ arrivingPerSec }) => arrivingPerSec)).toEqual([20, 40]);
  expect(rates[0]!.steps).toEqual([
    { comingPerSec: 60, passingPerSec: 60 },
    { comingPerSec: 60, passingPerSec: 20 },
  ]);
});

test('who holds a flow back is told', () => {
  const [wide, narrow] = [pipe(100), pipe(20)];
  const held = (given: Flow) => ratesOf([given])[0]!.heldAt;
  expect(held(flow(true, [wide, narrow]))).toBe(1);
  expect(held(flow(true, [narrow, wide]))).toBe(0);
  expect(held(flow(false, [wide, narrow], 60))).toBe(1);
  expect(held(flow(false, [wide, narrow]))).toBe(1);
  expect(held(flow(false, [wide, narrow], 10))).toBeNull();
});

test('ways that cross both ways come to rest', () => {
  const [a, b] = [pipe(100), pipe(50)];
  expect(arriving([flow(false, [a, b], 80), flow(false, [b, a], 80)])).toEqual([24, 24]);
});
