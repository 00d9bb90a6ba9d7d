import { expect, test } from 'vitest';
import { egressOf, type ShapedContainer, type ShapingState } from '../../../src/egress/picture.ts';
import { planEgress } from '../../../src/egress/plan.ts';
import { type ShaperObject, shaperKey } from '../../../src/host/shaper.ts';
import type { Step } from '../../../src/host/steps.ts';

const state = (objects: readonly ShaperObject[]): ShapingState => ({ objects, foreign: [], fairQueues: true });
const container = (name: string, mbit: number): ShapedContainer => ({
  name,
  egress: { guaranteeBitsPerSec: mbit * 1e6 },
  ports: [{ family: 'bridge', port: `plp-${name}`, address: '10.0.0.5' }],
  within: [],
  functions: [],
});
const wanted = (...containers: readonly ShapedContainer[]): readonly ShaperObject[] =>
  egressOf(containers, 'eth0', { uplinkBitsPerSec: 1e9 }, [], state([])).objects;
const steps = (objects: readonly ShaperObject[], observed: readonly ShaperObject[]): string[] => {
  const { opening, within, closing } = planEgress(objects, state(observed));
  return [...opening, ...within, ...closing]
    .flat()
    .map((step: Step) => `${step.verb} ${shaperKey(step.with as ShaperObject)}`);
};
const ab = wanted(container('a', 5), container('b', 5));

test('nothing is done where all is as wanted', () => expect(steps(ab, ab)).toEqual([]));

test('the qdisc comes before its classes, inner ones before outer ones, the filter last', () => {
  expect(steps(ab, [])).toEqual(ab.map((object) => `shaper.add ${shaperKey(object)}`));
});

test('a class takes other rates in place', () => {
  const other = wanted(container('a', 6), container('b', 5));
  expect(steps(other, ab)).toEqual(['shaper.add class htb 504c:2 dev eth0', 'shaper.add class htb 504c:3 dev eth0']);
});

test('with another default the qdisc is laid anew, and all in it', () => {
  const flat = egressOf(
    [{ ...container('a', 5), egress: { ceilingBitsPerSec: 5e6 } }],
    'eth0',
    {},
    [],
    state([]),
  ).objects;
  expect(steps(ab, flat)).toEqual([
    'shaper.remove qdisc htb 504c: dev eth0',
    ...ab.map((object) => `shaper.add ${shaperKey(object)}`),
  ]);
});

test('a class that nobody asks for goes alone, and with the last container everything', () => {
  expect(
    steps(
      ab.filter((object) => object.kind !== 'class' || object.minor !== 4),
      ab,
    ),
  ).toEqual(['shaper.remove class htb 504c:4 dev eth0']);
  expect(steps([], ab)).toEqual(['shaper.remove qdisc htb 504c: dev eth0']);
});
