import { describe, expect, test } from 'vitest';
import type { CgroupState } from '../../../src/host/cgroups.ts';
import { type Step, targetOf } from '../../../src/host/steps.ts';
import type { MemoryLine, SupervisorSettings } from '../../../src/host/supervision.ts';
import type { Bytes } from '../../../src/host/units.ts';
import { mergePlans } from '../../../src/engine/plan.ts';
import type { MemoryDesired, MemoryRequest } from '../../../src/memory/desired.ts';
import { planMemory, supervisorSettings } from '../../../src/memory/plan.ts';
import { policyByName } from '../../../src/memory/policies.ts';

const line = {
  hardLimitBytes: 100e6,
  killAtBytes: 105e6,
  stopAtBytes: 100e6,
  ceilingBytes: 110e6,
  lookEveryMs: 100,
} as MemoryLine;
const memory: MemoryDesired = { policy: { name: 'gaia' }, line, dry: false };
const gaia = policyByName('gaia')!;
const requests: MemoryRequest[] = [
  { name: 'a', requestBytes: 10e6 as Bytes, priority: 0 },
  { name: 'b', requestBytes: 20e6 as Bytes, priority: 0 },
];
const CEILING = Math.floor(110e6 / 4096) * 4096;

const cgroups = (...states: [path: string, limitBytes?: number][]): Map<string, CgroupState> =>
  new Map(
    states.map(([path, limitBytes]) => [
      path,
      { path, limitBytes: (limitBytes ?? null) as Bytes | null, peakBytes: 1, populated: true, oomKills: 0 },
    ]),
  );

const told = (plan: readonly (readonly Step[])[]): string[] =>
  plan.map((stage) => stage.map((step) => `${step.verb} ${targetOf(step)}`).join(' | '));
const plan = (
  wanted: readonly MemoryRequest[],
  there: Map<string, CgroupState>,
  supervised: SupervisorSettings[],
  asked: MemoryDesired | null = memory,
  policy = gaia,
) => told(mergePlans([planMemory(asked, asked && policy, wanted, { cgroups: there, supervised })]));

describe('coming', () => {
  test('from nothing: parent, ceiling, supervisor, then the containers', () =>
    expect(plan(requests, cgroups(), [])).toEqual([
      'cgroups.create containers',
      'cgroups.limit containers',
      'supervision.supervise containers',
      'cgroups.create containers/a | cgroups.create containers/b',
    ]));

  test('hard-limit gives each its own limit', () =>
    expect(plan(requests, cgroups(), [], memory, policyByName('hard-limit')).at(-1)).toBe(
      'cgroups.limit containers/a | cgroups.limit containers/b',
    ));

  test('nothing is to be done where all agrees, though the kernel rounded the ceiling to pages', () =>
    expect(
      plan(requests, cgroups(['containers', CEILING], ['containers/a'], ['containers/b']), [
        supervisorSettings(memory, requests),
      ]),
    ).toEqual([]));
});

describe('drift', () => {
  const settings = [supervisorSettings(memory, requests)];
  test('a ceiling edited by hand', () =>
    expect(plan(requests, cgroups(['containers', 5e9], ['containers/a'], ['containers/b']), settings)).toEqual([
      'cgroups.limit containers',
    ]));
  test('a child limit nobody asked for is taken off', () =>
    expect(
      plan(requests, cgroups(['containers', CEILING], ['containers/a', 4096], ['containers/b']), settings),
    ).toEqual(['cgroups.limit containers/a']));
  test('a supervisor that works by other settings', () =>
    expect(plan(requests.slice(0, 1), cgroups(['containers', CEILING], ['containers/a']), settings)).toEqual([
      'supervision.supervise containers',
    ]));
  test('a supervisor that is dead', () =>
    expect(plan(requests, cgroups(['containers', CEILING], ['containers/a'], ['containers/b']), [])).toEqual([
      'supervision.supervise containers',
    ]));
  test('a supervisor of another parent is released', () =>
    expect(
      plan(requests, cgroups(['containers', CEILING], ['containers/a'], ['containers/b']), [
        ...settings,
        { ...settings[0]!, parent: 'old' },
      ]),
    ).toEqual(['supervision.release old | supervision.supervise containers']));
});

describe('going', () => {
  test('a cgroup nobody asks for goes, what is under it first', () =>
    expect(
      plan(
        requests,
        cgroups(['containers', CEILING], ['containers/a'], ['containers/b'], ['containers/c'], ['containers/c/sub']),
        [supervisorSettings(memory, requests)],
      ),
    ).toEqual(['cgroups.remove containers/c/sub', 'cgroups.remove containers/c']));
  test('nothing asked: children, then supervisor, then the parent', () =>
    expect(
      plan([], cgroups(['containers', CEILING], ['containers/a']), [supervisorSettings(memory, requests)], null),
    ).toEqual(['cgroups.remove containers/a', 'supervision.release containers', 'cgroups.remove containers']));
  test('nothing asked of nothing', () => expect(plan([], cgroups(), [], null)).toEqual([]));
});
