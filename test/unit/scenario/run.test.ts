import { describe, expect, test } from 'vitest';
import { openSim } from '../../../src/commands/backend/sim.ts';
import { MIB } from '../../../src/host/units.ts';
import { PolicyFault } from '../../../src/memory/checked.ts';
import { policyByName } from '../../../src/memory/policies.ts';
import { readScenario } from '../../../src/scenario/load.ts';
import { Interrupted, type RunOptions, runScenario } from '../../../src/scenario/run.ts';
import { readTrace } from '../../../src/traces/read.ts';
import { GOOD, rules } from './rules.ts';

/** The whole way: file, engine, simulated host, recording. */
function run(text: string, options: Partial<RunOptions> = {}) {
  const scenario = readScenario(text, 'a.yaml', rules);
  const { backend, engineFor } = openSim(scenario, ({ name }) => policyByName(name)!);
  return runScenario(scenario, backend, { engineFor, commit: 'abc', ...options });
}

const kinds = (result: Awaited<ReturnType<typeof run>>, kind: string) =>
  result.observations.filter((each) => each.kind === kind);

/** `late` grows fast, and must die at about 2.7 s. */
const LEAKING = GOOD.replace('perSecond: 2Mi', 'perSecond: 45Mi').replace('noKills: true', 'killed: [late]');

describe('a run', () => {
  test('does what the timeline says, when it says so, and records it', async () => {
    const lines: string[] = [];
    const result = await run(GOOD, { record: (line) => lines.push(line) });
    expect(result.held).toBe(true);
    expect(kinds(result, 'start')).toMatchObject([
      { atMs: 0, container: 'web' },
      { atMs: 1000, container: 'late' },
    ]);
    expect(kinds(result, 'request')).toMatchObject([{ atMs: 2000, container: 'web' }]);
    expect(result.observations.at(-1)).toEqual({ kind: 'end', atMs: 3000 });
    expect(lines.every((line) => line.endsWith('}\n'))).toBe(true);
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([result.header, ...result.observations]);
    expect(result.header).toMatchObject({ backend: 'sim', policy: 'gaia', seed: 1, commit: 'abc' });
  });

  test('leaves a recording that can be read as a trace, whatever went wrong', async () => {
    const lines: string[] = [];
    const result = await run(
      `${LEAKING}faults:\n  - { on: store.commit, do: { fail: EIO } }\n  - { on: cgroups.list, at: 500ms, do: { crash: before } }\n`,
      { record: (line) => lines.push(line) },
    );
    expect(new Set(kinds(result, 'note').map((each) => 'about' in each && each.about))).toEqual(
      new Set(['trouble', 'crash', 'recovery']),
    );
    const trace = await readTrace([{ name: 'r', chunks: lines.map((line) => new TextEncoder().encode(line)) }]);
    expect(trace.names).toEqual(['late', 'web']);
    expect([...trace.requestBytes]).toEqual([20 * MIB, 50 * MIB]);
    expect(trace.recorded).toMatchObject({ title: 'A test', seed: 1, commit: 'abc' });
  });

  test.each(['constructor', 'toString', 'hasOwnProperty'])(
    'has no trouble with a container called %s',
    async (name) => {
      const result = await run(LEAKING.replaceAll('late', name));
      expect(result.held).toBe(true);
      expect(result.kills).toMatchObject([{ container: name }]);
    },
  );

  test('is the same twice, byte for byte', async () => {
    const recordings = await Promise.all(
      [1, 2].map(async () => {
        const lines: string[] = [];
        await run(LEAKING, { record: (line) => lines.push(line) });
        return lines.join('');
      }),
    );
    expect(recordings[0]).toBe(recordings[1]);
  });

  test('judges, and tells who was killed', async () => {
    const result = await run(LEAKING);
    expect(result.verdicts).toMatchObject([{ held: true }]);
    expect(result.kills).toMatchObject([{ container: 'late', cause: 'supervisor' }]);
    expect((await run(LEAKING.replace('killed: [late]', 'noKills: true'))).held).toBe(false);
  });

  test('survives a crash of its engine: the supervisor kills meanwhile, the next engine takes over', async () => {
    const result = await run(
      LEAKING.replace(
        '{ at: 2s, do: { request: { container: web, to: 50Mi } } }',
        '{ at: 1200ms, do: { crash: { restartAfter: 1700ms } } }',
      ),
    );
    expect(kinds(result, 'note')).toMatchObject([
      { about: 'crash', atMs: 1200 },
      { about: 'recovery', atMs: 2900 },
    ]);
    expect(result.kills).toMatchObject([{ container: 'late' }]);
    expect(result.kills[0]!.atMs).toBeLessThan(2900);
    expect(kinds(result, 'death')).toMatchObject([{ container: 'late', cause: 'supervisor' }]);
    expect(result.broken).toEqual([]);
    // What the supervisor saw before the crash is told by the next engine; it still stands before the crash.
    const times = result.observations.map(({ atMs }) => atMs);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  });

  test('a request that meets a crash is asked again of the next engine', async () => {
    const result = await run(`${LEAKING}faults:\n  - { on: store.commit, nth: 2, do: { crash: before } }\n`);
    expect(kinds(result, 'note')).toMatchObject([{ about: 'crash' }, { about: 'recovery' }]);
    expect(kinds(result, 'start')).toMatchObject([{ container: 'web' }, { container: 'late' }]);
  });

  test('goes on where the host refuses a step for a while', async () => {
    const result = await run(`${GOOD}faults:\n  - { on: containers.start, times: 2, do: { fail: EAGAIN } }\n`);
    expect(kinds(result, 'step').filter((step) => 'error' in step)).toHaveLength(2);
    expect(kinds(result, 'start').map((each) => 'container' in each && each.container)).toContain('web');
  });

  test('asks again what the store refused, and says so', async () => {
    const atFirst = await run(`${GOOD}faults:\n  - { on: store.commit, do: { fail: EIO } }\n`);
    expect(kinds(atFirst, 'start')).toMatchObject([
      { atMs: 1000, container: 'web' },
      { atMs: 1000, container: 'late' },
    ]);
    expect(kinds(atFirst, 'note')).toMatchObject([
      { atMs: 0, about: 'trouble', message: expect.stringContaining('store.commit') },
    ]);
    const later = await run(`${GOOD}faults:\n  - { on: store.commit, at: 900ms, do: { fail: EIO } }\n`);
    expect(kinds(later, 'start')).toMatchObject([
      { atMs: 0, container: 'web' },
      { atMs: 2000, container: 'late' },
    ]);
  });

  test('ends when it should though the store refuses for ever', async () => {
    const result = await run(
      `${GOOD.replace('noKills: true', 'livesToTheEnd: [web]')}faults:\n  - { on: store.commit, times: 1000000, do: { fail: EIO } }\n`,
    );
    expect(result.verdicts).toMatchObject([{ held: false, detail: 'web never ran' }]);
    expect(result.observations.at(-1)).toEqual({ kind: 'end', atMs: 3000 });
    expect(kinds(result, 'note').length).toBeGreaterThan(2);
  });

  test('does not take the fault of a policy for one of the host', async () => {
    const scenario = readScenario(
      `${GOOD}faults:\n  - { on: containers.start, do: { fail: EAGAIN } }\n`,
      'a.yaml',
      rules,
    );
    const { backend, engineFor } = openSim(scenario, () => ({ ...policyByName('gaia')!, limits: () => null as never }));
    const error = await runScenario(scenario, backend, { engineFor, commit: '' }).catch((caught: unknown) => caught);
    expect((error as Error).cause).toBeInstanceOf(PolicyFault);
  });

  test('gives up on an engine that never comes back', async () => {
    await expect(
      run(`${GOOD}faults:\n  - { on: store.read, times: 1000000, do: { crash: before } }\n`),
    ).rejects.toThrow(/crashed 1000 times/);
  });

  test('leaves nothing behind when it is interrupted', async () => {
    const scenario = readScenario(GOOD, 'a.yaml', rules);
    const { backend, engineFor } = openSim(scenario, ({ name }) => policyByName(name)!);
    const interruption = new AbortController();
    const running = runScenario(scenario, backend, {
      engineFor,
      commit: '',
      signal: interruption.signal,
      observe: ({ atMs }) => {
        if (atMs >= 1000) interruption.abort();
      },
    });
    await expect(running).rejects.toThrow(Interrupted);
    const host = await backend.connect('host');
    expect(await backend.drive(() => host.cgroups.list())).toEqual([]);
    expect(await backend.drive(() => host.containers.list())).toEqual([]);
  });

  test('dry mode decides and kills nobody', async () => {
    const result = await run(
      LEAKING.replace('killAt: 1.05', 'dry: true')
        .replace('killed: [late]', 'wouldKill: [late]')
        .replace('50Mi', '40Mi'),
    );
    expect(result.verdicts).toMatchObject([{ held: true }]);
  });
});
