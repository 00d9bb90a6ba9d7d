import assert from 'node:assert/strict';
import type { FirewallElement, FirewallFrame } from '../../src/host/firewall.ts';
import type { LinkSpec } from '../../src/host/links.ts';
import type { RoutingEntry } from '../../src/host/routing.ts';
import { assertApplied, type ContractCase, type ContractFixture } from './contract.ts';

/** Two networks with a host between them, which routes. */
const SIDES = ['web', 'back'] as const;
const ADDRESS = { web: '10.9.1.2', back: '10.9.2.2' } as const;
const HOST_ADDRESS = { web: '10.9.1.1', back: '10.9.2.1' } as const;
const PORT = 7000;

const FRAME: FirewallFrame = {
  sets: [
    { family: 'inet', name: 'closed', fields: ['iifname'] },
    { family: 'inet', name: 'natted', fields: ['ip saddr'], intervals: true },
    { family: 'inet', name: 'published', fields: ['meta l4proto', 'th dport'], to: ['ip daddr', 'th dport'] },
  ],
  chains: [
    {
      family: 'inet',
      name: 'input',
      type: 'filter',
      hook: 'input',
      priority: -10,
      rules: [{ when: [{ fields: ['iifname'], is: { set: 'closed' } }], verdict: 'drop' }],
    },
    {
      family: 'inet',
      name: 'prerouting',
      type: 'nat',
      hook: 'prerouting',
      priority: -100,
      rules: [
        {
          when: [{ fields: ['fib daddr type'], is: { value: 'local' } }],
          verdict: { dnat: { map: 'published', by: ['meta l4proto', 'th dport'] } },
        },
      ],
    },
    {
      family: 'inet',
      name: 'postrouting',
      type: 'nat',
      hook: 'postrouting',
      priority: 100,
      rules: [{ when: [{ fields: ['ip saddr'], is: { set: 'natted' } }], verdict: 'masquerade' }],
    },
  ],
};

const element = (set: string, key: string, value?: string): FirewallElement => ({
  family: 'inet',
  set,
  key,
  ...(value === undefined ? {} : { value }),
});

async function buildNetworks({ host, settle }: ContractFixture): Promise<void> {
  assertApplied(await settle(() => host.namespaces.create(SIDES)), 2);
  const links: LinkSpec[] = SIDES.map((side) => ({
    namespace: '',
    name: `plp-${side}`,
    alias: side,
    kind: { type: 'veth', peer: { namespace: side, name: 'eth0', alias: side } },
  }));
  assertApplied(await settle(() => host.links.create(links)), 2);
  const up = SIDES.flatMap((side) => [
    { namespace: '', name: `plp-${side}`, set: { up: true, forwarding: true } },
    { namespace: side, name: 'eth0', set: { up: true } },
  ]);
  assertApplied(await settle(() => host.links.set(up)), up.length);
  const entries: RoutingEntry[] = SIDES.flatMap((side): RoutingEntry[] => [
    { kind: 'address', namespace: '', link: `plp-${side}`, prefix: `${HOST_ADDRESS[side]}/24` },
    { kind: 'address', namespace: side, link: 'eth0', prefix: `${ADDRESS[side]}/24` },
    { kind: 'route', namespace: side, link: 'eth0', to: '0.0.0.0/0', via: HOST_ADDRESS[side] },
  ]);
  assertApplied(await settle(() => host.routing.add(entries)), entries.length);
}

/** Who answered a packet from `web`, and which source address it was seen with. */
async function probe(
  { host, settle }: ContractFixture,
  to: string,
  port: number,
): Promise<readonly [string | null, string | null]> {
  const [result] = await settle(() => host.probes.send([{ from: 'web', to, protocol: 'udp', port }]));
  return [result!.answeredBy, result!.seenFrom];
}

/** That rules and elements act on packets. */
export const firewallPacketsContract: readonly ContractCase[] = [
  {
    name: 'an input drop, a dnat map and a masquerade act on packets as their elements come and go',
    async run(fixture) {
      const { host, settle } = fixture;
      await buildNetworks(fixture);
      const answering = await settle(() =>
        host.probes.answer([
          { namespace: '', port: PORT },
          { namespace: 'back', port: PORT },
        ]),
      );
      const apply = async (add: FirewallElement[], remove: FirewallElement[] = []): Promise<void> =>
        assertApplied(await settle(() => host.firewall.apply([{ add, remove }])), 1);
      const [self, back] = [`${host.name}/`, `${host.name}/back`];
      try {
        assertApplied(await settle(() => host.firewall.apply([{ frame: FRAME, add: [], remove: [] }])), 1);
        assert.deepEqual(await probe(fixture, HOST_ADDRESS.web, PORT), [self, ADDRESS.web]);
        assert.deepEqual(await probe(fixture, ADDRESS.back, PORT), [back, ADDRESS.web]);
        assert.deepEqual(await probe(fixture, HOST_ADDRESS.web, 8080), [null, null]);

        await apply([element('closed', 'plp-web'), element('natted', '10.9.1.0/24')]);
        assert.deepEqual(await probe(fixture, HOST_ADDRESS.web, PORT), [null, null], 'the host is closed to it');
        assert.deepEqual(await probe(fixture, ADDRESS.back, PORT), [back, HOST_ADDRESS.back], 'it is masqueraded');

        await apply(
          [element('published', 'udp . 8080', `${ADDRESS.back} . ${PORT}`)],
          [element('natted', '10.9.1.0/24')],
        );
        assert.deepEqual(await probe(fixture, HOST_ADDRESS.web, 8080), [back, ADDRESS.web], 'the port is published');

        await apply([], [element('published', 'udp . 8080'), element('closed', 'plp-web')]);
        assert.deepEqual(await probe(fixture, HOST_ADDRESS.web, PORT), [self, ADDRESS.web], 'it is open again');
      } finally {
        await settle(() => answering.close());
      }
    },
  },
];
