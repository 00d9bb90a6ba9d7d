import { describe, expect, test } from 'vitest';
import { ScenarioError } from '../../../src/scenario/errors.ts';
import { readScenario } from '../../../src/scenario/load.ts';
import type { Scenario } from '../../../src/scenario/scenario.ts';
import { rules } from './rules.ts';

/** One thing a line, so that a test can make one line wrong. */
const GOOD = `title: A test
why: To be made wrong.
memory: { hardLimit: 100Mi }
egress: { uplink: 100Mbit }
hosts:
  h1: { address: 192.168.77.11/24, egress: { overcommit: warn } }
  h2: { nics: { ens1: { driver: igb, totalVfs: 7, speed: 1Gbit }, ens2: {} } }
networks:
  web: { bridge: 10.1.0.0/24 }
  fast: { sriov: 10.9.0.0/24, pf: ens1, vfs: 4, vlan: 100, maxRate: 10Mbit, gateway: 10.9.0.1 }
containers:
  a:
    host: h1
    request: 1Mi
    workload: { constant: 1Mi }
    networks: [web]
    egress: { guarantee: 10Mbit, ceiling: 50Mbit }
  v:
    host: h2
    request: 1Mi
    workload: { constant: 1Mi }
    networks: [fast]
timeline:
  - { at: 1s, do: { egress: { container: a, ceiling: 20Mbit } } }
  - { at: 1s, do: { byHand: { host: h2, vf: { pf: ens2, index: 0, set: { vlan: 7, maxRate: 5Mbit } } } } }
  - { at: 2s, do: { egress: { container: a } }, mayBeRefused: true }
  - { at: 5s, do: end }
expectations:
  - text: In its class
    that: { classified: { from: a, to: 192.168.77.99, as: a, at: 500ms } }
  - text: As fast as that
    that: { rate: { from: a, to: h1, atMost: 50Mbit, for: 1s } }
  - text: So many, and no more
    that: { packets: { from: a, to: h1, payload: 100, atLeast: 1000, atMost: 9000, for: 1500ms } }
  - text: As asked
    that: { vf: { container: v, mac: lease, vlan: 100 } }
`;

const read = (text: string): Scenario => readScenario(text, 'a.yaml', rules);
const instead = (from: string, to: string): string => {
  if (!GOOD.includes(from)) throw new Error(`the test means text that is not there: ${from}`);
  return GOOD.replace(from, to);
};

function problemOf(text: string): string {
  try {
    read(text);
  } catch (error) {
    if (error instanceof ScenarioError) return error.message;
    throw error;
  }
  throw new Error('it was read without a problem');
}

describe('what a scenario asks of egress and of cards', () => {
  test('becomes what the engine takes', () => {
    const { hosts, containers, timeline } = read(GOOD);
    expect(hosts.map(({ egress, nics, uplink }) => ({ egress, nics, uplink: uplink?.link }))).toEqual([
      { egress: { uplinkBitsPerSec: 100_000_000, overcommit: 'warn' }, nics: [], uplink: 'eth0' },
      {
        egress: { uplinkBitsPerSec: 100_000_000 },
        nics: [{ link: 'ens1', driver: 'igb', totalVfs: 7, speedBitsPerSec: 1e9 }, { link: 'ens2' }],
        uplink: undefined,
      },
    ]);
    expect(hosts[1]!.network).toMatchObject({
      networks: [
        { name: 'web' },
        {
          name: 'fast',
          kind: 'sriov',
          pool: '10.9.0.0/24',
          gateway: '10.9.0.1',
          vf: { select: { pf: 'ens1' }, count: 4, knobs: { vlan: 100, maxRateBitsPerSec: 10_000_000 } },
        },
      ],
    });
    expect(hosts[1]!.network).not.toHaveProperty('uplink');
    expect(containers[0]!.egress).toEqual({ guaranteeBitsPerSec: 10_000_000, ceilingBitsPerSec: 50_000_000 });
    expect(timeline.map(({ action, mayBeRefused }) => ({ action, mayBeRefused }))).toEqual([
      { action: { kind: 'egress', container: 'a', egress: { ceilingBitsPerSec: 20_000_000 } }, mayBeRefused: false },
      {
        action: {
          kind: 'byHand',
          host: 'h2',
          changes: [
            {
              verb: 'virtualFunctions.set',
              with: [{ pf: 'ens2', index: 0, set: { vlan: 7, maxRateBitsPerSec: 5_000_000 } }],
            },
          ],
        },
        mayBeRefused: false,
      },
      { action: { kind: 'egress', container: 'a' }, mayBeRefused: true },
    ]);
  });

  test('claims have their names looked up, and their moments', () => {
    const [classified, rate, packets, vf] = read(GOOD).expectations.map(({ claim }) => claim);
    expect(classified).toMatchObject({
      pair: { from: { host: 'h1', namespace: 'a' } },
      as: { container: 'a' },
      momentMs: 500,
    });
    // Over a second before the end.
    expect(rate).toMatchObject({ pair: { by: 'h1/' }, protocol: 'udp', momentMs: 3000, forMs: 1000 });
    expect(packets).toMatchObject({
      kind: 'packets',
      pair: { from: { namespace: 'a' }, by: 'h1/' },
      payloadBytes: 100,
      atLeast: 1000,
      atMost: 9000,
      momentMs: 2500,
      forMs: 1500,
    });
    expect(vf).toEqual({
      kind: 'vf',
      host: 'h2',
      of: { container: 'v', network: 'fast', link: 'eth0' },
      knobs: { vlan: 100 },
      mac: 'lease',
      momentMs: 4000,
    });
  });

  test.each([
    [
      'a knob',
      'vlan: 100, maxRate',
      'vlna: 100, maxRate',
      'a.yaml:10: networks.fast: unknown key "vlna": did you mean "vlan"?',
    ],
    ['a VLAN', 'vlan: 100, maxRate', 'vlan: 5000, maxRate', '5000 is more than 4095'],
    ['a rate', 'maxRate: 10Mbit', 'maxRate: 10', '10 is not a rate: write 500kbit, 10Mbit or 1Gbit'],
    ['a rate of nothing', 'maxRate: 10Mbit', 'maxRate: 0Mbit', 'it is 0: leave it out for none'],
    [
      'VFs of a bridge',
      'web: { bridge: 10.1.0.0/24 }',
      'web: { bridge: 10.1.0.0/24, vlan: 5 }',
      '"vf" is for SR-IOV networks',
    ],
    [
      'a guarantee above the ceiling',
      'guarantee: 10Mbit',
      'guarantee: 60Mbit',
      'a.yaml:17: a: its guarantee of 60 Mbit/s is above its ceiling',
    ],
    [
      'a change that cannot be',
      '{ container: a, ceiling: 20Mbit }',
      '{ container: a, guarantee: 200Mbit }',
      'a.yaml:24: a: 200 Mbit/s is above what the uplink carries',
    ],
    ['a rate that claims nothing', 'atMost: 50Mbit, for', 'for', 'it claims nothing: write atLeast or atMost'],
    [
      'a rate to whoever it is',
      'to: h1, atMost',
      'to: 192.168.77.99, atMost',
      'who receives is not told by "192.168.77.99"',
    ],
    ['packets of nothing', 'payload: 100', 'payload: 0', '0 is less than 1'],
    [
      'packets that claim nothing',
      'payload: 100, atLeast: 1000, atMost: 9000',
      'payload: 100',
      'it claims nothing: write atLeast or atMost',
    ],
    ['a misspelt size', 'payload: 100', 'paylaod: 100', 'unknown key "paylaod": did you mean "payload"?'],
    [
      'packets to whoever it is',
      'to: h1, payload',
      'to: 192.168.77.99, payload',
      'who receives is not told by "192.168.77.99"',
    ],
    ['packets that are still sent', 'for: 1500ms', 'at: 4s, for: 1500ms', 'it is not over when the scenario ends'],
    ['a rate that is not over', 'for: 1s', 'at: 4500ms, for: 1s', 'it is not over when the scenario ends'],
    ['a class of nobody', 'as: a, at', 'as: b, at', 'there is no container "b"'],
    [
      'a class where there is no uplink',
      'from: a, to: 192.168.77.99',
      'from: v, to: 192.168.77.99',
      'host h2 has no uplink on which anything could be counted',
    ],
    ['a VF of nobody', 'container: v, mac', 'container: w, mac', 'there is no container "w"'],
    ['a VF in another network', 'container: v, mac', 'container: v, network: web, mac', '"v" is never attached to web'],
    [
      'a VF of two',
      'container: v, mac: lease',
      'container: v, pf: ens1, index: 0, mac: lease',
      'whose VF it is is exactly one of container, pf',
    ],
    [
      'a lease of a card',
      'container: v, mac: lease',
      'host: h2, pf: ens1, index: 0, mac: lease',
      'only a container has a lease',
    ],
    [
      'what only a model can suffer',
      'vf: { pf: ens2, index: 0, set: { vlan: 7, maxRate: 5Mbit } }',
      'flap: { nic: ens1, for: 1s }',
      'only a simulated host can have that befall it: write backends: [sim]',
    ],
    [
      'a stop that may be refused',
      '{ egress: { container: a } }, mayBeRefused',
      '{ stop: a }, mayBeRefused',
      'only start, attach, egress and what is done by hand may be refused',
    ],
    [
      'two things that move',
      'vf: { pf: ens2, index: 0, set: { vlan: 7, maxRate: 5Mbit } }',
      'move: { link: a, vf: { pf: ens1, index: 0 } }',
      'what moves is exactly one of vf, link',
    ],
  ])('%s that makes no sense is told with its line', (_, from, to, problem) => {
    expect(problemOf(instead(from, to))).toContain(problem);
  });

  test('what may be refused has not happened to what comes after it', () => {
    const twice = 'mayBeRefused: true }\n  - { at: 3s, do: { start: late } }\n';
    const text = instead('{ egress: { container: a } }, mayBeRefused: true }\n', `{ start: late }, ${twice}`).replace(
      'timeline:',
      '  late: { host: h1, request: 1Mi, workload: { constant: 1Mi }, networks: [web] }\ntimeline:',
    );
    expect(read(text).timeline.filter(({ action }) => action.kind === 'start')).toHaveLength(2);
  });
});
