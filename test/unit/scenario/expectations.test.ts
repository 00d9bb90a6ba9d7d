import { describe, expect, test } from 'vitest';
import type { Observation } from '../../../src/engine/observation.ts';
import { MIB } from '../../../src/host/units.ts';
import { judge } from '../../../src/scenario/expectations.ts';
import type { Claim, Expectation } from '../../../src/scenario/scenario.ts';

const start = (container: string, request: number): Observation => ({
  kind: 'start',
  priority: 0,
  atMs: 0,
  container,
  requestBytes: request * MIB,
});
const sample = (atMs: number, use: Record<string, number>): Observation => ({
  kind: 'sample',
  atMs,
  totalBytes: Object.values(use).reduce((total, each) => total + each, 0) * MIB,
  workingSetBytes: Object.fromEntries(Object.entries(use).map(([name, each]) => [name, each * MIB])),
});
const look = (atMs: number, total: number): Observation => ({ kind: 'look', atMs, totalBytes: total * MIB });
const kill = (atMs: number, container: string, outcome: 'killed' | 'dry' | 'failed' = 'killed'): Observation => ({
  kind: 'decision',
  atMs,
  container,
  totalBytes: 110 * MIB,
  workingSetBytes: 70 * MIB,
  requestBytes: 20 * MIB,
  reason: 'total 110 MiB is past killAt; furthest over its request: by 50 MiB',
  outcome,
});

/** Two are killed by Plimsoll, one by the kernel, one ends by itself, one lives. */
const RUN: Observation[] = [
  {
    kind: 'line',
    atMs: 0,
    policy: 'gaia',
    hardLimitBytes: 100 * MIB,
    killAtBytes: 105 * MIB,
    stopAtBytes: 100 * MIB,
    ceilingBytes: 110 * MIB,
    lookEveryMs: 100,
  },
  start('a', 20),
  start('b', 20),
  start('c', 20),
  start('d', 20),
  start('e', 20),
  sample(1000, { a: 30, b: 10, c: 10, d: 10, e: 10 }),
  look(1500, 106),
  look(1600, 107),
  kill(1600, 'a'),
  { kind: 'passedOver', atMs: 2600, container: 'a', heldBytes: MIB },
  look(2700, 103),
  look(2800, 108),
  kill(2800, 'b'),
  { kind: 'death', atMs: 3000, container: 'a', cause: 'supervisor' },
  { kind: 'death', atMs: 3000, container: 'c', cause: 'kernel' },
  { kind: 'death', atMs: 3000, container: 'd', cause: 'exit' },
  { kind: 'end', atMs: 4000 },
];

const judged = (claim: Claim, observations = RUN, more: Partial<Expectation> = {}) =>
  judge({ expectations: [{ text: 't', claim, backends: ['sim', 'linux'], ...more }] }, observations, {
    backend: 'sim',
    policies: { host: 'gaia' },
  })[0]!;

describe('an expectation is judged by what was observed', () => {
  test.each<[Claim, boolean, string]>([
    [{ kind: 'killed', containers: ['a', 'b', 'c'] }, true, 'killed: a, b, c'],
    [{ kind: 'killed', containers: ['b', 'a', 'c'] }, false, 'killed: a, b, c'],
    [{ kind: 'killed', containers: ['a', 'b'] }, false, 'killed: a, b, c'],
    [{ kind: 'notKilled', containers: ['d', 'e'] }, true, 'killed: a, b, c'],
    [{ kind: 'notKilled', containers: ['c', 'e'] }, false, 'killed were c'],
    [{ kind: 'noKills' }, false, 'killed: a, b, c'],
    [{ kind: 'kills', atLeast: 3, atMost: 3 }, true, '3 killed: a, b, c'],
    [{ kind: 'kills', atMost: 2 }, false, '3 killed: a, b, c'],
    [{ kind: 'kills', atLeast: 4 }, false, '3 killed: a, b, c'],
    [{ kind: 'killedBy', container: 'a', cause: 'supervisor' }, true, 'a died: killed by Plimsoll'],
    [{ kind: 'killedBy', container: 'b', cause: 'supervisor' }, true, 'b died: killed by Plimsoll'],
    [{ kind: 'killedBy', container: 'c', cause: 'supervisor' }, false, 'c died: killed by the kernel'],
    [{ kind: 'killedBy', container: 'd', cause: 'exit' }, true, 'd died: by itself'],
    [{ kind: 'killedBy', container: 'e', cause: 'exit' }, false, 'e did not die'],
    [{ kind: 'livesToTheEnd', containers: ['e'] }, true, 'alive at the end: e'],
    [{ kind: 'livesToTheEnd', containers: ['d', 'e'] }, false, 'd died: by itself'],
    [{ kind: 'livesToTheEnd', containers: ['b'] }, false, 'b died: killed by Plimsoll'],
    [{ kind: 'livesToTheEnd', containers: ['f'] }, false, 'f never ran'],
    [
      { kind: 'livesOverRequest', containers: ['a'] },
      true,
      'over its request and alive: a by 10.0 MiB at 1.00 s, total 70.0 MiB',
    ],
    [
      { kind: 'livesOverRequest', containers: ['a', 'b'] },
      false,
      'no sample with the total at or under the hard limit shows b over its request',
    ],
    [{ kind: 'totalAtMost', limit: { ofHardLimit: 1.08 } }, true, 'highest: 108 MiB at 2.80 s, allowed 108 MiB'],
    [{ kind: 'totalAtMost', limit: { ofHardLimit: 1.07 } }, false, 'highest: 108 MiB at 2.80 s, allowed 107 MiB'],
    [
      { kind: 'totalAtMost', limit: { bytes: (107 * MIB) as never } },
      false,
      'highest: 108 MiB at 2.80 s, allowed 107 MiB',
    ],
    [{ kind: 'killsWithinLooks', looks: 2 }, true, 'a at look 2, b at look 1'],
    [{ kind: 'killsWithinLooks', looks: 1 }, false, 'a at look 2, b at look 1'],
    [{ kind: 'passedOver', containers: ['a'] }, true, 'passed over: a'],
    [{ kind: 'passedOver', containers: ['b'] }, false, 'passed over: a'],
    [{ kind: 'wouldKill', containers: ['a'] }, false, 'would have killed: nobody'],
    [
      { kind: 'reason', container: 'a', contains: 'furthest over' },
      true,
      'total 110 MiB is past killAt; furthest over its request: by 50 MiB',
    ],
    [
      { kind: 'reason', container: 'a', contains: 'largest' },
      false,
      'total 110 MiB is past killAt; furthest over its request: by 50 MiB',
    ],
    [{ kind: 'reason', container: 'e', contains: 'x' }, false, 'e was not killed'],
  ])('%j is %s', (claim, held, detail) => {
    expect(judged(claim)).toEqual({ text: 't', held, detail });
  });

  test('each host has a hard limit of its own', () => {
    const line = RUN.find(({ kind }) => kind === 'line') as Extract<Observation, { kind: 'line' }>;
    const observations: Observation[] = [
      { ...line, host: 'small', hardLimitBytes: 60 * MIB },
      { ...line, host: 'big', hardLimitBytes: 400 * MIB },
      { ...start('a', 20), host: 'small' },
      { ...start('b', 20), host: 'big' },
      { ...sample(1000, { a: 70 }), host: 'small' },
      { ...sample(1000, { b: 300 }), host: 'big' },
    ];
    expect(judged({ kind: 'livesOverRequest', containers: ['a'] }, observations).held).toBe(false);
    expect(judged({ kind: 'livesOverRequest', containers: ['b'] }, observations).held).toBe(true);
  });

  test('a dry decision and a failed one are no kills', () => {
    const observations = [kill(1, 'a', 'dry'), kill(2, 'b', 'failed')];
    expect(judged({ kind: 'noKills' }, observations).held).toBe(true);
    expect(judged({ kind: 'wouldKill', containers: ['a'] }, observations).held).toBe(true);
  });

  test('looks are counted anew after each kill', () => {
    const line = RUN[0]!;
    const observations = [line, look(100, 106), kill(100, 'a'), kill(100, 'b'), look(200, 107), kill(200, 'c')];
    const { detail } = judged({ kind: 'killsWithinLooks', looks: 1 }, observations);
    expect(detail).toBe('a at look 1, b at look 1, c at look 1');
  });

  test('what was never seen is not held', () => {
    expect(judged({ kind: 'totalAtMost', limit: { ofHardLimit: 2 } }, []).held).toBe(false);
    expect(judged({ kind: 'killsWithinLooks', looks: 2 }, []).held).toBe(false);
  });

  test('one of a host sees that host alone', () => {
    const observations = [
      { ...kill(1, 'a'), host: 'one' },
      { ...kill(2, 'b'), host: 'two' },
    ];
    const policies = { one: 'gaia', two: 'hard-limit' };
    const held = (host: string, containers: string[], limits: Partial<Expectation> = {}) =>
      judge(
        { expectations: [{ text: '', claim: { kind: 'killed', containers }, host, backends: ['sim'], ...limits }] },
        observations,
        { backend: 'sim', policies },
      )[0]!.held;
    expect(held('one', ['a'])).toBe(true);
    expect(held('two', ['a'])).toBe(false);
    expect(held('two', ['b'], { policies: ['hard-limit'] })).toBe(true);
    expect(held('one', ['a'], { policies: ['hard-limit'] })).toBe(null);
  });

  test('one for another backend or policy neither held nor failed', () => {
    expect(judged({ kind: 'noKills' }, RUN, { backends: ['linux'] })).toEqual({
      text: 't',
      held: null,
      detail: 'only on linux',
    });
    expect(judged({ kind: 'noKills' }, RUN, { policies: ['kernel'] })).toEqual({
      text: 't',
      held: null,
      detail: 'only under kernel',
    });
  });
});
