import { describe, expect, test } from 'vitest';
import { networkNames } from '../../../src/commands/network-rules.ts';
import { ScenarioError } from '../../../src/scenario/errors.ts';
import { readScenario, scenarioOf } from '../../../src/scenario/load.ts';
import type { Scenario } from '../../../src/scenario/scenario.ts';
import { GOOD, NETWORKED, rules } from './rules.ts';

const read = (text: string): Scenario => readScenario(text, 'a.yaml', rules);
const instead = (from: string, to: string, text = NETWORKED): string => {
  if (!text.includes(from)) throw new Error(`the test means text that is not there: ${from}`);
  return text.replace(from, to);
};
const byHand = (change: string): string => instead('remove: { fdbOf: c2 }', change);
const claiming = (claim: string): string => instead('reaches: { from: [c1, c2], to: [c1, c2] }', claim);

function problemOf(text: string): string {
  try {
    read(text);
  } catch (error) {
    if (error instanceof ScenarioError) return error.message;
    throw error;
  }
  throw new Error('it was read without a problem');
}

describe('the networks of a scenario', () => {
  test('become what the engine takes', () => {
    const { hosts, containers, timeline } = read(NETWORKED);
    const networks = [
      { name: 'blue', kind: 'overlay', pool: '10.0.0.0/24', internal: true, nat: false },
      { name: 'web', kind: 'bridge', pool: '10.1.0.0/24', internal: false, nat: true },
      { name: 'office', kind: 'intranet', pool: '192.168.77.128/25', internal: false, nat: false, by: 'macvlan' },
    ];
    expect(hosts.map(({ network, uplink }) => ({ network, uplink }))).toEqual([
      { network: { uplink: 'eth0', networks }, uplink: { link: 'eth0', prefix: '192.168.77.11/24', mtu: 1400 } },
      { network: { uplink: 'eth7', networks }, uplink: { link: 'eth7', prefix: '192.168.77.12/24', mtu: 1500 } },
    ]);
    expect(containers.map(({ attachments }) => attachments)).toEqual([
      [
        { network: 'blue', publish: [] },
        {
          network: 'web',
          publish: [
            { protocol: 'udp', hostPort: 5353, containerPort: 53 },
            { protocol: 'tcp', hostAddress: '192.168.77.11', hostPort: 8081, containerPort: 81 },
          ],
        },
      ],
      [{ network: 'blue', address: '10.0.0.9', publish: [] }],
    ]);
    expect(timeline.map(({ action }) => action)).toEqual([
      { kind: 'attach', container: 'c2', attachment: { network: 'office', publish: [] } },
      { kind: 'detach', container: 'c2', network: 'office' },
      {
        kind: 'byHand',
        host: 'h1',
        changes: [
          {
            verb: 'routing.remove',
            with: [
              {
                kind: 'fdbOf',
                of: { container: 'c2', network: 'blue' },
                link: networkNames.vxlan('blue'),
                destination: '192.168.77.12',
              },
            ],
          },
        ],
      },
    ]);
  });

  test('are read again from what a recording keeps of them', () => {
    const first = read(NETWORKED);
    expect(scenarioOf(JSON.parse(JSON.stringify(first.written)), 'a.yaml', rules)).toEqual(first);
  });

  test('are none where none are written', () => {
    expect(read(GOOD).hosts[0]).not.toHaveProperty('network');
    expect(read(GOOD).containers[0]).not.toHaveProperty('attachments');
  });

  test('claims say who is meant, in all pairs, and when', () => {
    const claims = read(NETWORKED).expectations.map(({ claim }) => claim);
    expect(claims).toMatchObject([
      {
        kind: 'reaches',
        momentMs: 3000,
        pairs: [
          { from: { text: 'c1', host: 'h1', namespace: 'c1' }, to: { text: 'c2', container: 'c2' }, by: 'h2/c2' },
          { from: { text: 'c2' }, to: { text: 'c1' }, by: 'h1/c1' },
        ],
      },
      { kind: 'cannotReach', momentMs: 500, pairs: [{ to: { container: 'c1', network: 'web' }, by: 'h1/c1' }] },
    ]);
  });

  test.each([
    ['a host', 'to: h2', { kind: 'address', address: '192.168.77.12' }, 'h2/'],
    ['a published port', "to: 'h1:5353/udp'", { kind: 'address', address: '192.168.77.11', port: 5353 }, 'h1/c1'],
    ['its protocol left out', "to: 'h1:5353'", { kind: 'address', port: 5353 }, 'h1/c1'],
    ["the sender's gateway", 'to: gateway(web)', { kind: 'address', address: '10.1.0.1' }, 'h1/'],
    ['an address', 'to: 10.0.0.9', { kind: 'address', address: '10.0.0.9' }, null],
    ['an address, and who has it', 'to: 10.0.0.9, answeredBy: c2', { address: '10.0.0.9' }, 'h2/c2'],
    ['a namespace made by hand', 'to: 10.9.0.1, answeredBy: h2/n1', { address: '10.9.0.1' }, 'h2/n1'],
  ])('a packet may be for %s', (_what, to, target, by) => {
    const { claim } = read(claiming(`reaches: { from: c1, ${to} }`)).expectations[0]!;
    expect(claim).toMatchObject({ pairs: [{ to: target, by }] });
    const [{ claim: absent }] = read(claiming(`cannotReach: { from: c1, ${to.split(',')[0]} }`)).expectations as [
      Scenario['expectations'][number],
    ];
    // Whoever it is that answers there has been reached.
    expect(absent).toMatchObject({ pairs: [{ by: null }] });
  });

  test('what is done by hand is written in the words of ip, bridge and nft', () => {
    const changed = read(
      byHand(
        `create: [{ namespace: n1 }, { vxlan: vx9, vni: 9, local: h2 }, { veth: p9, peer: { name: eth0, netns: n1 } }],
         set: { link: { portOf: c1 }, master: { bridgeOf: web }, up: false },
         delete: [{ link: { vxlanOf: blue } }, { namespace: n2 }],
         add: [{ route: 0.0.0.0/0, via: 10.9.0.1, dev: eth0, netns: n1 }, { fdb: 02:00:00:00:09:01, dev: vx9, dst: h1 }],
         remove: [{ bindingOf: c1@web }, { firewall: { set: closed, key: [{ bridgeOf: blue }] } }, { neighbourOf: c2 }]`,
      ),
    ).timeline.at(-1)!.action;
    const port = networkNames.port('web', 'c1');
    expect(changed).toEqual({
      kind: 'byHand',
      host: 'h1',
      changes: [
        { verb: 'namespaces.create', with: ['n1'] },
        {
          verb: 'links.create',
          with: [
            {
              namespace: '',
              name: 'vx9',
              alias: '',
              kind: { type: 'vxlan', vni: 9, local: '192.168.77.12', udpPort: 4789 },
            },
            {
              namespace: '',
              name: 'p9',
              alias: '',
              kind: { type: 'veth', peer: { namespace: 'n1', name: 'eth0', alias: '' } },
            },
          ],
        },
        {
          verb: 'links.set',
          with: [
            {
              namespace: '',
              name: networkNames.port('blue', 'c1'),
              set: { up: false, master: networkNames.bridge('web') },
            },
          ],
        },
        { verb: 'links.remove', with: [{ namespace: '', name: networkNames.vxlan('blue') }] },
        { verb: 'namespaces.remove', with: ['n2'] },
        {
          verb: 'routing.add',
          with: [
            { kind: 'route', namespace: 'n1', link: 'eth0', to: '0.0.0.0/0', via: '10.9.0.1' },
            { kind: 'fdb', namespace: '', link: 'vx9', mac: '02:00:00:00:09:01', destination: '192.168.77.11' },
          ],
        },
        {
          verb: 'routing.remove',
          with: [{ kind: 'neighbourOf', of: { container: 'c2', network: 'blue' }, link: networkNames.vxlan('blue') }],
        },
        {
          verb: 'firewall.apply',
          add: [],
          remove: [
            { kind: 'bindingOf', of: { container: 'c1', network: 'web' }, port },
            { family: 'inet', set: 'closed', key: networkNames.bridge('blue') },
          ],
        },
      ],
    });
  });
});

const twice = (network: string): string => instead('[{ name: blue, address: 10.0.0.9 }]', network);

describe('what is wrong with networks is told in one line, with its line and what to do', () => {
  test.each([
    [
      'a network of two kinds',
      instead('overlay:', 'bridge: 10.3.0.0/24, overlay:'),
      'a.yaml:8: networks.blue: a network is exactly one of bridge, overlay, intranet',
    ],
    [
      'a misspelt kind',
      instead('overlay', 'overlya'),
      'a.yaml:8: networks.blue: unknown key "overlya": did you mean "overlay"?',
    ],
    [
      'no length',
      instead('10.0.0.0/24', '10.0.0.0'),
      'a.yaml:8: networks.blue.overlay: "10.0.0.0" has no length: write one like 10.0.0.0/24',
    ],
    [
      'no address',
      instead('10.0.0.0/24', '10.0.0.256/24'),
      'a.yaml:8: networks.blue.overlay: "10.0.0.256" is not an IPv4 address',
    ],
    [
      'an address for a network',
      instead('10.0.0.0/24', '10.0.0.7/24'),
      'a.yaml:8: network blue: 10.0.0.7/24 is an address in a network, not a network: its host bits must be 0',
    ],
    [
      'internal with a way out',
      instead('internal: true', 'internal: true, nat: true'),
      'a.yaml:8: network blue: it cannot be internal and have a way out',
    ],
    [
      'pools that overlap where both are routed',
      instead('office:', 'shop: { bridge: 10.1.0.0/16 }\n  office:'),
      'a.yaml:10: network shop: its pool 10.1.0.0/16 overlaps 10.1.0.0/24 of network web',
    ],
    [
      'a pool in the underlay',
      instead('10.1.0.0/24', '192.168.77.0/25'),
      'a.yaml:9: network web: its pool 192.168.77.0/25 overlaps the underlay 192.168.77.0/24',
    ],
    [
      'an intranet elsewhere',
      instead('192.168.77.128/25', '192.168.78.0/25'),
      'a.yaml:10: network office: 192.168.78.0/25 is not part of the underlay 192.168.77.0/24',
    ],
    [
      'an MTU that does not fit',
      instead('internal: true', 'mtu: 1400'),
      "a.yaml:8: network blue: mtu 1400 is more than the uplink's 1400 has room for: at most 1350",
    ],
    [
      'an unknown network',
      instead('networks: [blue, ', 'networks: [bleu, '),
      'a.yaml:16: there is no network "bleu": did you mean "blue"?',
    ],
    [
      'an address outside the pool',
      instead('10.0.0.9', '10.0.1.9'),
      'a.yaml:21: c2: address 10.0.1.9 is outside the pool 10.0.0.0/24 of network blue',
    ],
    [
      "the network's own address",
      instead('10.0.0.9', '10.0.0.255'),
      "a.yaml:21: c2: address 10.0.0.255 is the network's own",
    ],
    [
      'an address asked for twice',
      instead('[blue, ', '[{ name: blue, address: 10.0.0.9 }, '),
      'a.yaml:21: c2: address 10.0.0.9 of network blue is in use by c1 on h1',
    ],
    [
      'a pool too small for its containers',
      instead('10.0.0.0/24, internal: true', '10.0.0.9/32'),
      'a.yaml:21: c2: address 10.0.0.9 of network blue is in use by c1 on h1',
    ],
    [
      'a pool used up',
      twice('[blue]').replace('10.0.0.0/24', '10.0.0.4/32'),
      'a.yaml:21: c2: network blue has no address left: all 1 of 10.0.0.4/32 are leased',
    ],
    ['a network twice', twice('[blue, blue]'), 'a.yaml:21: c2: it is attached to network blue twice'],
    [
      'a port published twice',
      instead("'192.168.77.11:8081:81'", "'5353:54/udp'"),
      'a.yaml:16: c1: port 5353/udp of the host is published by c1 already',
    ],
    [
      'no port',
      instead("'5353:53/udp'", "'5353'"),
      `a.yaml:16: containers.c1.networks.1.publish.0: "5353" is no published port: write '8080:80', '5353:53/udp'`,
    ],
    [
      'a port out of range',
      instead("'5353:53/udp'", "'70000:53/udp'"),
      'a.yaml:16: c1: port 70000 is not between 1 and 65535',
    ],
    [
      'a published port of a closed network',
      instead('[blue, ', "[{ name: blue, publish: ['1:1'] }, "),
      'a.yaml:16: c1: network blue is internal: nothing of it can be published',
    ],
    [
      'a host outside the underlay',
      instead('uplink: eth7', 'address: 192.168.78.12/24'),
      'a.yaml:6: 192.168.78.12/24 is not in the network 192.168.77.0/24 that joins the hosts',
    ],
    [
      'two hosts of one address',
      instead('uplink: eth7', 'address: 192.168.77.11/24'),
      'a.yaml:6: host h1 has the address 192.168.77.11/24 too',
    ],
    [
      'an uplink that cannot be',
      instead('eth7', 'an-uplink-too-long'),
      'a.yaml:6: hosts.h2.uplink: longer than the 15 characters',
    ],
    [
      'an uplink without networks',
      instead('containers:', 'hosts: { only: { mtu: 1400 } }\ncontainers:', GOOD),
      'a.yaml:7: there are no networks for it: write networks, or leave mtu out',
    ],
    [
      'an attach of nobody',
      instead('container: c2, network: office', 'container: c3, network: office').replace(/.*detach: .*\n/, ''),
      'a.yaml:23: there is no container "c3"',
    ],
    [
      'an attach to where it is',
      instead('network: office } } }\n  - { at: 2s', 'network: blue } } }\n  - { at: 2s').replace(/.*detach: .*\n/, ''),
      'a.yaml:23: c2: it is attached to network blue twice',
    ],
    [
      'a detach from where it is not',
      instead('detach: { container: c2, network: office', 'detach: { container: c1, network: office'),
      'a.yaml:24: "c1" is not attached to office at that time',
    ],
    [
      'a detach from the last',
      instead('detach: { container: c2, network: office', 'detach: { container: c2, network: blue').replace(
        /.*attach: .*\n/,
        '',
      ),
      'blue is the last network of "c2": stop it instead',
    ],
    [
      'an act on a host that is down',
      instead(
        'detach: { container: c2, network: office } }',
        'hostDown: { host: h2 } } }\n  - { at: 3s, do: { stop: c2 }',
      ),
      'a.yaml:25: host h2 is down at that time, and nobody there hears of it',
    ],
    [
      'a host up that is up',
      instead('detach: { container: c2, network: office }', 'hostUp: { host: h2 }'),
      'a.yaml:24: host h2 is up already at that time',
    ],
    ['nothing by hand', byHand('{}').replace('{}', 'add: []'), 'a.yaml:25: timeline.2.do.byHand.add'],
    [
      'an unknown thing by hand',
      byHand('add: { fdbof: c2 }'),
      'a.yaml:25: timeline.2.do.byHand.add.0: a map is none of address, route, rule',
    ],
    ['an entry of nobody by hand', byHand('remove: { fdbOf: c9 }'), 'a.yaml:25: there is no container "c9"'],
    ['a claim of nobody', claiming('reaches: { from: c1, to: c9 }'), 'a.yaml:29: there is no container or host "c9"'],
    [
      'a claim of a port that nobody publishes',
      claiming("reaches: { from: h2, to: 'h1:53/udp' }"),
      'a.yaml:29: nobody on h1 publishes 53/udp',
    ],
    [
      'a claim of a TCP port',
      claiming("reaches: { from: h2, to: 'h1:8081' }"),
      'a.yaml:29: probes speak UDP, and port 8081 of h1 is published for TCP',
    ],
    ['a claim of nothing', claiming('reaches: { from: c1, to: c1 }'), 'a.yaml:29: it claims nothing'],
    [
      'a claim too late',
      claiming('reaches: { from: c1, to: c2, at: 4s }'),
      'a.yaml:29: it comes when the scenario has ended',
    ],
    [
      'who answers that is not reached',
      claiming('cannotReach: { from: c1, to: c2, answeredBy: c2 }'),
      'a.yaml:29: nobody answers who is not reached',
    ],
    [
      'a claim without networks',
      instead('noKills: true', 'reaches: { from: web, to: late }', GOOD),
      'a.yaml:20: there are no networks: write networks',
    ],
  ])('%s', (_what, text, message) => {
    expect(problemOf(text).split('\n')[0]).toContain(message);
    expect(problemOf(text).split('\n')).toHaveLength(1);
  });
});
