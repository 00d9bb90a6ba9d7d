import { describe, expect, test } from 'vitest';
import { openSim } from '../../../src/commands/backend/sim.ts';
import type { Observation } from '../../../src/engine/observation.ts';
import { policyByName } from '../../../src/memory/policies.ts';
import { readScenario } from '../../../src/scenario/load.ts';
import { runScenario, type ScenarioBackend } from '../../../src/scenario/run.ts';
import { rules } from './rules.ts';

/** Two hosts, an overlay with a member on each, a timeline and what is expected. */
const scenarioText = (timeline: readonly string[], expectations: readonly string[]): string => `title: A test
why: To see probes sent.
memory: { hardLimit: 100Mi }
hosts: { h1: {}, h2: {} }
networks:
  blue: { overlay: 10.0.0.0/24 }
  office: { intranet: 192.168.77.128/25 }
containers:
  c1: { host: h1, request: 4Mi, workload: { constant: 1Mi }, networks: [{ name: blue, address: 10.0.0.1 }] }
  c2: { host: h2, request: 4Mi, workload: { constant: 1Mi }, networks: [{ name: blue, address: 10.0.0.2 }] }
timeline:
${timeline.map((each) => `  - { ${each} }`).join('\n')}
expectations:
${expectations.map((each) => `  - { text: so it is, that: { ${each} } }`).join('\n')}
`;

async function run(
  timeline: readonly string[],
  expectations: readonly string[],
  change: (backend: ScenarioBackend) => ScenarioBackend = (backend) => backend,
) {
  const scenario = readScenario(scenarioText(timeline, expectations), 'a.yaml', rules);
  const { backend, engineFor } = openSim(scenario, ({ name }) => policyByName(name)!);
  return runScenario(scenario, change(backend), { engineFor, commit: 'abc' });
}

const failures = ({ verdicts, broken }: Awaited<ReturnType<typeof run>>) => [
  ...verdicts.filter(({ held }) => held !== true),
  ...broken,
];
const reached = ({ observations }: { observations: readonly Observation[] }) =>
  observations.flatMap((each) => (each.kind === 'reach' ? [each] : []));

describe('probes', () => {
  test('are sent when they are asked for, once for all who ask the same, and recorded in order of time', async () => {
    const result = await run(
      ['at: 3s, do: end'],
      [
        'reaches: { from: [c1, c2], to: [c1, c2], at: 1s }',
        'reaches: { from: c1, to: c2, at: 1s }',
        'reaches: { from: c1, to: c2 }',
        'reaches: { from: c1, to: c2, payload: full }',
      ],
    );
    expect(failures(result)).toEqual([]);
    expect(reached(result)).toMatchObject([
      { atMs: 1000, host: 'h1', momentMs: 1000, from: 'c1', to: 'c2', address: '10.0.0.2', answeredBy: 'h2/c2' },
      { atMs: 1000, host: 'h2', momentMs: 1000, from: 'c2', to: 'c1', address: '10.0.0.1', answeredBy: 'h1/c1' },
      { atMs: 2000, momentMs: 2000, from: 'c1', to: 'c2' },
      // 1500 less the tunnel's 50, less the 28 of IPv4 and UDP.
      { atMs: 2000, momentMs: 2000, from: 'c1', to: 'c2', payloadBytes: 1422, full: true },
    ]);
    const times = result.observations.map(({ atMs }) => atMs);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  });

  test('are answered only at their moments: nothing listens before or after', async () => {
    let open = 0;
    const watched = (backend: ScenarioBackend): ScenarioBackend => ({
      ...backend,
      bystander(host) {
        const bystander = backend.bystander(host);
        const answer: typeof bystander.probes.answer = async (places) => {
          const answering = await bystander.probes.answer(places);
          open++;
          return {
            arrivals: () => answering.arrivals(),
            close: async () => {
              open--;
              await answering.close();
            },
          };
        };
        return { ...bystander, probes: { ...bystander.probes, answer } };
      },
    });
    const result = await run(
      ['at: 3s, do: end'],
      ['reaches: { from: c1, to: c2, at: 1s }', 'reaches: { from: c1, to: c2, at: 1001ms }'],
      watched,
    );
    expect(failures(result)).toEqual([]);
    expect(open).toBe(0);
  });

  test('from whoever is not there count for nothing, in either claim', async () => {
    const result = await run(
      ['at: 1s, do: { stop: c1 }', 'at: 4s, do: end'],
      [
        'reaches: { from: c1, to: c2, at: 500ms }',
        'cannotReach: { from: c1, to: c2 }',
        'reaches: { from: c2, to: c1 }',
        'cannotReach: { from: c2, to: c1 }',
      ],
    );
    expect(result.verdicts.map(({ held }) => held)).toEqual([true, false, false, true]);
    expect(result.verdicts[1]!.detail).toBe('c1 → c2: nothing was sent: c1 is in no network');
    // It is asked at the address that c1 had.
    expect(result.verdicts[3]!.detail).toMatch(/^c2 → c1 \(10\.0\.0\.1\): /);
  });

  test('of a forged source are judged by where they arrive, on whichever host that is', async () => {
    const result = await run(
      ['at: 500ms, do: { byHand: { host: h1, remove: { firewall: all } } }', 'at: 2s, do: end'],
      [
        'cannotReach: { from: c1, to: c2, as: 10.0.0.9, at: 200ms }',
        'reaches: { from: c1, to: c2, as: 10.0.0.9, at: 1s }',
        'reaches: { from: c1, to: c2, at: 1s }',
      ],
    );
    expect(failures(result)).toEqual([]);
    expect(reached(result).find((each) => each.forgedSource !== undefined && each.momentMs === 1000)).toMatchObject({
      answeredBy: null,
      arrivedAt: 'h2/c2',
      seenFrom: '10.0.0.9',
    });
  });
});

describe('the timeline of networks', () => {
  test('attaches and detaches who is running', async () => {
    const result = await run(
      [
        'at: 1s, do: { attach: { container: c2, network: office, address: 192.168.77.130 } }',
        'at: 2s, do: { detach: { container: c2, network: office } }',
        'at: 4s, do: end',
      ],
      [
        'cannotReach: { from: h1, to: 192.168.77.130, at: 900ms }',
        'reaches: { from: h1, to: c2@office, at: 1500ms }',
        'cannotReach: { from: h1, to: c2@office, at: 2500ms }',
        'reaches: { from: c1, to: c2 }',
        'livesToTheEnd: [c1, c2]',
      ],
    );
    expect(failures(result)).toEqual([]);
    const told = result.observations.flatMap((each) =>
      each.kind === 'address' && each.network === 'office' ? [[each.atMs, each.taken]] : [],
    );
    expect(told).toEqual([
      [1000, true],
      [2000, false],
    ]);
  });

  test('what is taken away by hand is lost, until Plimsoll finds that it is', async () => {
    const changes = ['fdbOf: c2', 'neighbourOf: c2'];
    for (const change of changes) {
      const result = await run(
        [`at: 1s, do: { byHand: { host: h1, remove: { ${change} } } }`, 'at: 13s, do: end'],
        ['cannotReach: { from: c1, to: c2, at: 2s }', 'reaches: { from: c1, to: c2, at: 12s }'],
      );
      expect(failures(result)).toEqual([]);
    }
    const bound = await run(
      ['at: 1s, do: { byHand: { host: h1, remove: { bindingOf: c1 } } }', 'at: 13s, do: end'],
      ['cannotReach: { from: c1, to: c2, at: 2s }', 'reaches: { from: c1, to: c2, at: 12s }'],
    );
    expect(failures(bound)).toEqual([]);
    expect(bound.observations).toContainEqual(
      expect.objectContaining({
        kind: 'note',
        about: 'timeline',
        message: expect.stringContaining('by hand: firewall'),
      }),
    );
  });

  test('a host that falls silent loses its addresses to others, and comes back to what is left for it', async () => {
    const result = await run(
      ['at: 1s, do: { hostDown: { host: h2 } }', 'at: 20s, do: { hostUp: { host: h2 } }', 'at: 24s, do: end'],
      [
        'reaches: { from: c1, to: c2, at: 500ms }',
        'cannotReach: { from: c1, to: [c2, h2], at: 2s }',
        'cannotReach: { from: c1, to: c2, at: 19s }',
        'reaches: { from: [c1, c2], to: [c1, c2], at: 23s }',
        'livesToTheEnd: [c1, c2]',
      ],
    );
    expect(failures(result)).toEqual([]);
    const steps = result.observations.flatMap((each) =>
      each.kind === 'step' && each.host === 'h1' && each.target.startsWith('neighbour 10.0.0.2 ') ? [each] : [],
    );
    // A session lives 15 s from its last renewal, which is at most 4 s old.
    expect(steps.map(({ verb }) => verb)).toEqual(['routing.add', 'routing.remove', 'routing.add']);
    expect(steps[1]!.atMs).toBeGreaterThan(12_000);
    expect(steps[1]!.atMs).toBeLessThan(17_000);
    expect(steps[2]!.atMs).toBeGreaterThanOrEqual(20_000);
    const meanwhile = result.observations.filter(
      ({ host, kind, atMs }) => host === 'h2' && kind === 'step' && atMs > 1000 && atMs < 20_000,
    );
    expect(meanwhile).toEqual([]);
    expect(result.observations.filter((each) => each.kind === 'note' && each.about === 'recovery')).toHaveLength(1);
  });

  test('a run that ends while a host is silent ends all the same, and leaves nothing', async () => {
    const scenario = readScenario(
      scenarioText(
        ['at: 1s, do: { hostDown: { host: h2 } }', 'at: 3s, do: end'],
        ['cannotReach: { from: c1, to: c2 }'],
      ),
      'a.yaml',
      rules,
    );
    const { backend, engineFor } = openSim(scenario, ({ name }) => policyByName(name)!);
    const result = await runScenario(scenario, backend, { engineFor, commit: '' });
    expect(failures(result)).toEqual([]);
    for (const host of ['h1', 'h2'])
      await backend.drive(async () => {
        expect(await backend.bystander(host).namespaces.list()).toEqual([]);
        expect((await backend.bystander(host).links.list([''])).map(({ name }) => name)).toEqual(['eth0', 'lo']);
        expect((await backend.bystander(host).firewall.read()).frame).toBeNull();
      });
  });
});
