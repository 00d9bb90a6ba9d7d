import { describe, expect, test } from 'vitest';
import { egressOf, type EntryPort, type ShapedContainer, type ShapingState } from '../../../src/egress/picture.ts';
import type { EgressRequest } from '../../../src/egress/desired.ts';
import { markOf, minorOf, type ShaperClass } from '../../../src/host/shaper.ts';

const NOTHING: ShapingState = { objects: [], foreign: [], fairQueues: true };
const port = (name: string, address = '10.0.0.5'): EntryPort => ({ family: 'bridge', port: `plp-${name}`, address });
const container = (name: string, egress: EgressRequest, over: Partial<ShapedContainer> = {}): ShapedContainer => ({
  name,
  egress,
  ports: [port(name)],
  within: [],
  functions: [],
  ...over,
});
const ceiling = (mbit: number): EgressRequest => ({ ceilingBitsPerSec: mbit * 1e6 });
const MBIT = 1e6;

const classesOf = (containers: readonly ShapedContainer[], uplinkBitsPerSec?: number): readonly ShaperClass[] =>
  egressOf(containers, 'eth0', uplinkBitsPerSec === undefined ? {} : { uplinkBitsPerSec }, [], NOTHING).objects.flatMap(
    (object) => (object.kind === 'class' ? [object] : []),
  );

describe('what shapes a host’s egress', () => {
  test('one filter and one class each, however many', () => {
    const many = Array.from({ length: 1000 }, (_, index) => container(`c${index}`, ceiling(1 + index)));
    const { objects, marks } = egressOf(many, 'eth0', {}, [], NOTHING);
    expect(objects.filter(({ kind }) => kind === 'filter')).toHaveLength(1);
    expect(objects.filter(({ kind }) => kind === 'class')).toHaveLength(1000);
    expect(new Set(marks.map(({ value }) => value)).size).toBe(1000);
  });

  test('where nobody told what the uplink carries, a ceiling is a class of its own and the rest passes unshaped', () => {
    expect(egressOf([container('a', ceiling(5))], 'eth0', {}, [], NOTHING).objects).toMatchObject([
      { kind: 'qdisc', defaultMinor: 0 },
      { kind: 'class', parentMinor: 0, rateBitsPerSec: 5 * MBIT, ceilBitsPerSec: 5 * MBIT, fairQueue: true },
      { kind: 'filter' },
    ]);
  });

  test('guarantees are shares of the whole, and what nobody marked has what is left', () => {
    const [whole, rest, a, b] = classesOf(
      [
        container('a', { guaranteeBitsPerSec: 30 * MBIT }),
        container('b', { guaranteeBitsPerSec: 10 * MBIT, ceilingBitsPerSec: 20 * MBIT }),
      ],
      100 * MBIT,
    );
    expect(whole).toMatchObject({ minor: 1, parentMinor: 0, rateBitsPerSec: 100 * MBIT, fairQueue: false });
    expect(rest).toMatchObject({ minor: 2, parentMinor: 1, rateBitsPerSec: 60 * MBIT, ceilBitsPerSec: 100 * MBIT });
    expect(a).toMatchObject({ parentMinor: 1, rateBitsPerSec: 30 * MBIT, ceilBitsPerSec: 100 * MBIT });
    expect(b).toMatchObject({ parentMinor: 1, rateBitsPerSec: 10 * MBIT, ceilBitsPerSec: 20 * MBIT });
  });

  test('where the kernel has no fair queues, none is asked for', () => {
    const { objects } = egressOf([container('a', ceiling(5))], 'eth0', {}, [], { ...NOTHING, fairQueues: false });
    expect(objects[1]).toMatchObject({ kind: 'class', fairQueue: false });
  });

  test('rates are whole bytes a second, as the kernel counts them', () => {
    expect(classesOf([container('a', { ceilingBitsPerSec: 1_000_007 })])[0]!.ceilBitsPerSec).toBe(1_000_000);
  });

  test('two with one address are told apart by their ports', () => {
    const { marks } = egressOf([container('a', ceiling(1)), container('b', ceiling(2))], 'eth0', {}, [], NOTHING);
    expect(marks.map(({ key }) => key)).toEqual(['plp-a . 10.0.0.5', 'plp-b . 10.0.0.5']);
    expect(marks[0]!.value).not.toBe(marks[1]!.value);
  });

  test('all interfaces of one container have one mark', () => {
    const two = container('a', ceiling(1), {
      ports: [port('a'), { family: 'inet', port: 'plp-x', address: '1.2.3.4' }],
    });
    const { marks } = egressOf([two], 'eth0', {}, [], NOTHING);
    expect(new Set(marks.map(({ value }) => value)).size).toBe(1);
    expect(marks.map(({ family }) => family)).toEqual(['bridge', 'inet']);
  });

  test('who is marked keeps the class, and what stands for somebody who goes is not given to who comes', () => {
    const before = egressOf([container('a', ceiling(1)), container('b', ceiling(1))], 'eth0', {}, [], NOTHING);
    const after = egressOf([container('c', ceiling(1)), container('b', ceiling(1))], 'eth0', {}, before.marks, {
      objects: before.objects,
      foreign: [],
      fairQueues: true,
    });
    const minors = (picture: typeof before): unknown[] => picture.marks.map(({ key, value }) => [key, minorOf(value!)]);
    expect(minors(before)).toEqual([
      ['plp-a . 10.0.0.5', 3],
      ['plp-b . 10.0.0.5', 4],
    ]);
    const expected = [
      ['plp-c . 10.0.0.5', 5],
      ['plp-b . 10.0.0.5', 4],
    ];
    expect(minors(after)).toEqual(expected);
    // Also where the one or the other is gone already.
    const now = [container('c', ceiling(1)), container('b', ceiling(1))];
    expect(minors(egressOf(now, 'eth0', {}, before.marks, NOTHING))).toEqual(expected);
    const halfGone = before.marks.slice(1);
    expect(minors(egressOf(now, 'eth0', {}, halfGone, { ...NOTHING, objects: before.objects }))).toEqual(expected);
  });

  test('two who were marked alike by hand are set apart', () => {
    const marked = ['a', 'b'].map((name) => ({
      family: 'bridge' as const,
      set: 'marks',
      key: `plp-${name} . 10.0.0.5`,
      value: markOf(7),
    }));
    const { marks } = egressOf([container('a', ceiling(1)), container('b', ceiling(1))], 'eth0', {}, marked, NOTHING);
    expect(marks.map(({ value }) => minorOf(value!))).toEqual([7, 3]);
  });

  test('an interface that passes the host by is shaped within its namespace, and needs no uplink', () => {
    const link = { namespace: 'a', name: 'eth0' };
    const { objects, marks } = egressOf(
      [container('a', ceiling(3), { ports: [], within: [link] })],
      null,
      {},
      [],
      NOTHING,
    );
    expect(marks).toEqual([]);
    expect(objects).toMatchObject([
      { ...link, kind: 'qdisc', defaultMinor: 1 },
      { ...link, kind: 'class', minor: 1, ceilBitsPerSec: 3 * MBIT },
    ]);
  });
});
