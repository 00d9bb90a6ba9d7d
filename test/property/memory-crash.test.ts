import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { observe } from '../../src/engine/planning.ts';
import { type Bytes, MIB, type Milliseconds } from '../../src/host/units.ts';
import { type MemoryCase, memoryCase } from './memory-cases.ts';
import { HOST, leftovers, type MemoryRun, runMemory, settle } from './memory-run.ts';
import { Reach, runs } from './reach.ts';

interface End {
  readonly living: string[];
  readonly store: string[];
  readonly limits: string[];
  readonly broken: unknown[];
}

/** How a run ended: who lives, what is in the store, what is there in the kernel. */
async function endOf({ simulation }: MemoryRun, given: MemoryCase, policy: string): Promise<End> {
  const broken = await settle(simulation, given, policy);
  const host = simulation.host(HOST);
  return simulation.run(async () => {
    const observed = await observe(host);
    return {
      living: observed.containers.filter(({ phase }) => phase === 'running').map(({ name }) => name),
      store: (await host.store.read('')).map(({ key, value }) => `${key} ${value}`),
      limits: [...observed.memory.cgroups.values()].map(({ path, limitBytes }) => `${path} ${limitBytes}`),
      broken,
    };
  });
}

const mebi = (value: number): Bytes => (value * MIB) as Bytes;

/** Quiet but for one that leaks past its request and the line, and one that ends by itself. */
const SMALL: MemoryCase = {
  seed: 1,
  cgroupVersion: 1,
  lastsMs: 6000,
  line: {
    hardLimitBytes: mebi(100),
    killAtBytes: mebi(105),
    stopAtBytes: mebi(100),
    ceilingBytes: mebi(120),
    lookEveryMs: 100 as Milliseconds,
  },
  containers: [
    { name: 'calm', requestBytes: mebi(40), priority: 0, workload: { memory: { kind: 'constant', bytes: mebi(30) } } },
    {
      name: 'leaky',
      requestBytes: mebi(30),
      priority: 0,
      workload: { memory: { kind: 'leak', from: mebi(10), bytesPerSecond: mebi(30) } },
    },
    {
      name: 'short',
      requestBytes: mebi(20),
      priority: 0,
      workload: { memory: { kind: 'constant', bytes: mebi(10) }, endsAfterMs: 2500 as Milliseconds },
    },
  ],
};

describe('a crash of the engine', () => {
  test.each(['gaia', 'hard-limit'])(
    'at every point there is, under %s: the same end, nothing leaked',
    async (policy) => {
      const reference = await runMemory(SMALL, { policy });
      const points = reference.simulation.crashPoints();
      const wanted = await endOf(reference, SMALL, policy);
      expect(wanted.living).toEqual(['calm']);
      expect(points).toBeGreaterThan(40);
      let crashes = 0;
      for (let crashPoint = 0; crashPoint < points; crashPoint++) {
        const run = await runMemory(SMALL, { policy, crashPoint, restartAfterMs: (crashPoint % 5) * 100 });
        crashes += run.crashes;
        expect(run.broken, `crash point ${crashPoint}`).toEqual([]);
        expect(await endOf(run, SMALL, policy), `crash point ${crashPoint}`).toEqual(wanted);
        expect(await leftovers(run.simulation), `crash point ${crashPoint}`).toEqual([]);
      }
      process.stdout.write(`${policy}: crashed at each of ${points} points, ${crashes} crashes\n`);
      expect(crashes).toBe(points);
    },
  );

  test('anywhere, under any load and policy: it converges, nothing leaked', async () => {
    const reach = new Reach(['a kill before the crash', 'a kill after the crash', 'crashed before anything was asked']);
    const policy = fc.constantFrom('gaia', 'hard-limit', 'kernel', 'largest-rss', 'kubelet');
    const percent = fc.integer({ min: 0, max: 99 });
    await fc.assert(
      fc.asyncProperty(
        memoryCase,
        policy,
        percent,
        fc.constantFrom(0, 100, 700, 2500),
        async (given, name, at, restartAfterMs) => {
          const reference = await runMemory(given, { policy: name });
          const crashPoint = Math.floor((at * reference.simulation.crashPoints()) / 100);
          const run = await runMemory(given, { policy: name, crashPoint, restartAfterMs });
          reach.add(metIn(run));
          expect(run.crashes).toBe(1);
          expect(run.broken).toEqual([]);
          expect((await endOf(run, given, name)).broken).toEqual([]);
          expect(await leftovers(run.simulation)).toEqual([]);
        },
      ),
      runs(3000),
    );
    reach.demand();
  });
});

function metIn({ observations }: MemoryRun): string[] {
  const takeover = observations.find((observation) => observation.kind === 'note' && observation.about === 'recovery');
  const takeoverMs = takeover && 'atMs' in takeover ? takeover.atMs : 0;
  const kills = observations.filter((observation) => observation.kind === 'decision');
  return [
    ...(takeover === undefined ? ['crashed before anything was asked'] : []),
    ...(kills.some(({ atMs }) => atMs < takeoverMs) ? ['a kill before the crash'] : []),
    ...(takeover !== undefined && kills.some(({ atMs }) => atMs > takeoverMs) ? ['a kill after the crash'] : []),
  ];
}
