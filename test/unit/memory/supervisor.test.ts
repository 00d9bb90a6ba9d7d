import { describe, expect, test } from 'vitest';
import type { CgroupReader, Cgroups } from '../../../src/host/cgroups.ts';
import { HostError } from '../../../src/host/errors.ts';
import type { Decision, SupervisorEvent, SupervisorSettings } from '../../../src/host/supervision.ts';
import { MIB } from '../../../src/host/units.ts';
import { policyByName } from '../../../src/memory/policies.ts';
import type { MemoryPolicy, Victim } from '../../../src/memory/policy.ts';
import { supervisorFactory } from '../../../src/memory/supervisor.ts';

const gaia = policyByName('gaia')!;
const line = {
  hardLimitBytes: 100 * MIB,
  killAtBytes: 105 * MIB,
  stopAtBytes: 100 * MIB,
  ceilingBytes: 110 * MIB,
  lookEveryMs: 100,
};

/** A machine of which every reading is written down beforehand: what no real one can be made to do at the right moment. */
class ScriptedMachine implements Pick<Cgroups, 'open' | 'kill'> {
  readonly use: Record<string, { usage: number; cache?: number }>;
  readonly killed: string[] = [];
  readonly refuse = new Set<string>();
  /** What happens as a kill goes out. */
  onKill: (path: string) => void = () => undefined;

  constructor(use: Record<string, { usage: number; cache?: number }>) {
    this.use = use;
  }

  open(path: string): CgroupReader {
    const read = (): { usage: number; cache?: number } => {
      const use = this.use[path];
      if (use === undefined) throw new HostError('ENODEV', 'cgroups.read', path);
      return use;
    };
    read();
    return {
      path,
      usageBytes: () => read().usage * MIB,
      readStat(into) {
        into.inactiveFileBytes = (read().cache ?? 0) * MIB;
        into.anonBytes = (read().usage - (read().cache ?? 0)) * MIB;
        return into;
      },
      close: () => undefined,
    };
  }

  kill(path: string): void {
    if (this.refuse.has(path)) throw new HostError('EPERM', 'cgroups.kill', path);
    this.killed.push(path);
    this.onKill(path);
  }
}

const settings = (requests: Record<string, number>, change: Partial<SupervisorSettings> = {}): SupervisorSettings =>
  ({
    parent: 'all',
    policy: { name: 'gaia' },
    line,
    dry: false,
    containers: Object.entries(requests).map(([name, request]) => ({
      name,
      cgroup: name,
      requestBytes: request * MIB,
      priority: 0,
    })),
    ...change,
  }) as SupervisorSettings;

function supervise(machine: ScriptedMachine, asked: SupervisorSettings, policy: MemoryPolicy = gaia) {
  const events: SupervisorEvent[] = [];
  const supervisor = supervisorFactory(() => policy)(machine, asked, (event) => events.push(event));
  const decisions = (): Decision[] => events.filter((event) => event.kind === 'decision');
  const troubles = (): string[] => events.flatMap((event) => (event.kind === 'trouble' ? [event.message] : []));
  return { supervisor, events, decisions, troubles };
}

describe('after a kill', () => {
  test('usage is read afresh: one that has shrunk meanwhile lives', () => {
    const machine = new ScriptedMachine({ all: { usage: 250 }, a: { usage: 80 }, b: { usage: 70 }, c: { usage: 60 } });
    machine.onKill = (path) => {
      machine.use['b'] = { usage: 10 };
      machine.use['all'] = { usage: path === 'a' ? 190 : 150 };
    };
    supervise(machine, settings({ a: 10, b: 20, c: 55 })).supervisor.look(0);
    expect(machine.killed).toEqual(['a', 'c']);
  });

  test('a kill that fails is told, the next one pays, and it is tried again a second later', () => {
    const machine = new ScriptedMachine({ all: { usage: 150 }, a: { usage: 80 }, b: { usage: 70 } });
    machine.refuse.add('a');
    const { supervisor, decisions } = supervise(machine, settings({ a: 10, b: 20 }));
    supervisor.look(0);
    expect(decisions().map(({ container, outcome }) => `${container} ${outcome}`)).toEqual(['a failed', 'b killed']);
    expect(decisions()[0]!.error).toContain('EPERM');
    machine.use['b'] = { usage: 0 };
    machine.refuse.clear();
    supervisor.look(900);
    expect(machine.killed).toEqual(['b']);
    supervisor.look(1000);
    expect(machine.killed).toEqual(['b', 'a']);
  });

  test('a cgroup made anew under the same name is a new life', () => {
    const machine = new ScriptedMachine({ all: { usage: 150 }, a: { usage: 140 } });
    const { supervisor } = supervise(machine, settings({ a: 10 }));
    supervisor.look(0);
    delete machine.use['a'];
    machine.use['all'] = { usage: 5 };
    supervisor.look(1000);
    machine.use['a'] = { usage: 140 };
    machine.use['all'] = { usage: 150 };
    supervisor.look(1100);
    expect(machine.killed).toEqual(['a', 'a']);
  });
});

describe('looking', () => {
  test('far from the line one number of the parent is read, and no child', () => {
    const machine = new ScriptedMachine({ all: { usage: 90 }, a: { usage: 90 } });
    const { supervisor, events } = supervise(machine, settings({ a: 10 }));
    supervisor.look(0);
    const opened: string[] = [];
    const open = machine.open.bind(machine);
    machine.open = (path) => {
      opened.push(path);
      return open(path);
    };
    expect(supervisor.look(100)).toBe(200);
    expect(opened).toEqual([]);
    expect(events.filter(({ kind }) => kind === 'look')).toEqual([]);
  });

  test('samples come each second, also where looks are rarer; but no decision comes early', () => {
    const machine = new ScriptedMachine({ all: { usage: 90 }, a: { usage: 90 } });
    const { supervisor, events } = supervise(
      machine,
      settings({ a: 10 }, { line: { ...line, lookEveryMs: 5000 } as never }),
    );
    let nextMs = supervisor.look(0);
    machine.use['all'] = { usage: 150 };
    machine.use['a'] = { usage: 150 };
    while (nextMs < 5000) nextMs = supervisor.look(nextMs);
    expect(events.filter(({ kind }) => kind === 'sample').map(({ atMs }) => atMs)).toEqual([0, 1000, 2000, 3000, 4000]);
    expect(machine.killed).toEqual([]);
    supervisor.look(nextMs);
    expect(machine.killed).toEqual(['a']);
  });

  test('a sample tells what cannot be reclaimed, also of those within their request', () => {
    const machine = new ScriptedMachine({
      all: { usage: 90, cache: 50 },
      a: { usage: 60, cache: 40 },
      b: { usage: 30, cache: 10 },
    });
    const { supervisor, events } = supervise(machine, settings({ a: 100, b: 100 }));
    supervisor.look(0);
    expect(events).toEqual([
      { kind: 'sample', atMs: 0, totalBytes: 40 * MIB, workingSetBytes: { a: 20 * MIB, b: 20 * MIB } },
    ]);
  });

  test('a parent that is not there yet is waited for, without a word', () => {
    const machine = new ScriptedMachine({});
    const { supervisor, events } = supervise(machine, settings({ a: 10 }));
    expect(supervisor.look(0)).toBe(100);
    expect(events).toEqual([]);
  });
});

describe('dry', () => {
  test('decides once for each, leaves it out of the total, and kills nobody', () => {
    const machine = new ScriptedMachine({ all: { usage: 150 }, a: { usage: 80 }, b: { usage: 70 } });
    const { supervisor, decisions } = supervise(machine, settings({ a: 10, b: 20 }, { dry: true }));
    supervisor.look(0);
    supervisor.look(5000);
    expect(decisions().map(({ container, outcome }) => `${container} ${outcome}`)).toEqual(['a dry']);
    expect(machine.killed).toEqual([]);
  });

  test('when it ends, the one chosen in dry mode can be killed', () => {
    const machine = new ScriptedMachine({ all: { usage: 150 }, a: { usage: 80 }, b: { usage: 70 } });
    const { supervisor } = supervise(machine, settings({ a: 10, b: 20 }, { dry: true }));
    supervisor.look(0);
    supervisor.configure(settings({ a: 10, b: 20 }));
    supervisor.look(100);
    expect(machine.killed).toEqual(['a']);
  });
});

describe("a user's policy", () => {
  const machine = (): ScriptedMachine =>
    new ScriptedMachine({ all: { usage: 150 }, a: { usage: 80 }, b: { usage: 70 } });
  const own = (decide: NonNullable<MemoryPolicy['decide']>): MemoryPolicy => ({ ...gaia, name: 'own', decide });
  const troubleOf = (decide: NonNullable<MemoryPolicy['decide']>): { told: string[]; killed: string[] } => {
    const load = machine();
    const { supervisor, troubles } = supervise(load, settings({ a: 10, b: 20 }), own(decide));
    supervisor.look(0);
    supervisor.look(100);
    return { told: troubles(), killed: load.killed };
  };

  test.each<[string, () => unknown, RegExp]>([
    [
      'throws',
      () => {
        throw new Error('oh no');
      },
      /own: decide throws: oh no; nobody was killed/,
    ],
    ['gives nothing', () => undefined, /own: decide gives undefined: it must give an array/],
    ['gives a promise', async () => [], /own: decide gives a promise/],
    ['names nobody there', () => [{ index: 7, reason: '' }], /own names container 7, which is not there/],
    ['names half a container', () => [{ index: 0.5, reason: '' }], /it must be \{ index, reason \}/],
    [
      'names one twice',
      () => [
        { index: 0, reason: '' },
        { index: 0, reason: '' },
      ],
      /own names container 0/,
    ],
  ])('that %s is told, once a second, and kills nobody', (_, decide, wanted) => {
    const { told, killed } = troubleOf(decide as () => Victim[]);
    expect(told).toHaveLength(1);
    expect(told[0]).toMatch(wanted);
    expect(killed).toEqual([]);
  });

  test('that writes into what it was handed changes nothing, and comes to an end', () => {
    const { told, killed } = troubleOf((snapshot) => {
      snapshot.killable.fill(1);
      snapshot.requestBytes.fill(0);
      return [{ index: 0, reason: 'always the first' }];
    });
    expect(killed).toEqual(['a']);
    expect(told[0]).toMatch(/own names container 0, which is not there to be killed/);
  });
});
