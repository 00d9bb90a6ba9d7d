// That containers are told apart by the mark of their packets, on every way out of the host.
import assert from 'node:assert/strict';
import type { FirewallElement } from '../../src/host/firewall.ts';
import type { Host } from '../../src/host/host.ts';
import { type ClassCounters, markOf } from '../../src/host/shaper.ts';
import { FRAME } from '../../src/network/frame.ts';
import { ADDRESS_HERE, ADDRESS_THERE, assertApplied, type ContractCase, type ContractFixture } from './contract.ts';
import { address, addEntries, attach, bridge, change, makeLinks, PORT, setLinks, udp, vxlan } from './network.ts';
import { addAll, filter, qdisc, shaperClass } from './shaper.ts';

/** All have it: tenants may. */
const SAME_ADDRESS = '10.9.1.2';
export const UPLINK = { namespace: '', name: 'eth0' } as const;
const [HERE, THERE] = [ADDRESS_HERE, ADDRESS_THERE].map((prefix) => prefix.split('/')[0]!) as [string, string];
const REMOTE_MAC = '02:70:6c:00:00:63';
const REMOTE_ADDRESS = '10.9.1.99';

/** Ways out of a host: off a bridge and by the host's address, routed without a bridge, and off a bridge into a tunnel. */
export const WAYS = {
  bridged: { port: 'plp-a', family: 'bridge', minor: 3, to: THERE },
  routed: { port: 'plx-b', family: 'inet', minor: 4, to: THERE },
  tunnelled: { port: 'plp-c', family: 'bridge', minor: 5, to: REMOTE_ADDRESS },
} as const;
export type WayOut = keyof typeof WAYS;

export const markOfWay = (way: WayOut, minor: number = WAYS[way].minor): FirewallElement => ({
  family: WAYS[way].family,
  set: 'marks',
  key: `${WAYS[way].port} . ${SAME_ADDRESS}`,
  value: markOf(minor),
});

/** A container for each way, named after it, all with one address, and the product's own frame. */
export async function buildWays(fixture: ContractFixture): Promise<Host> {
  const { host, settle } = fixture;
  const other = await fixture.another('other');
  await makeLinks(fixture, [bridge('plb-a'), bridge('plb-c'), vxlan('plx-c', 7, HERE)]);
  await setLinks(fixture, [change('', 'plb-a', { up: true, forwarding: true }), change('', 'plb-c', { up: true })]);
  await attach(fixture, 'bridged', 'plp-a', `${SAME_ADDRESS}/24`, 'plb-a');
  await attach(fixture, 'routed', 'plx-b', `${SAME_ADDRESS}/24`);
  await attach(fixture, 'tunnelled', 'plp-c', `${SAME_ADDRESS}/24`, 'plb-c');
  await setLinks(fixture, [
    change('', 'plx-c', { up: true, master: 'plb-c' }),
    change('', 'plx-b', { forwarding: true }),
    change('', 'eth0', { forwarding: true }),
  ]);
  await addEntries(fixture, [
    address('', 'plb-a', '10.9.1.1/24'),
    address('', 'plx-b', '10.9.1.1/32'),
    { kind: 'route', namespace: 'bridged', link: 'eth0', to: '0.0.0.0/0', via: '10.9.1.1' },
    { kind: 'route', namespace: 'routed', link: 'eth0', to: '0.0.0.0/0', via: '10.9.1.1' },
    { kind: 'neighbour', namespace: 'tunnelled', link: 'eth0', address: REMOTE_ADDRESS, mac: REMOTE_MAC },
    { kind: 'fdb', namespace: '', link: 'plx-c', mac: REMOTE_MAC, destination: THERE },
  ]);
  const natted: FirewallElement = { family: 'inet', set: 'natted', key: '10.9.1.0/24' };
  assertApplied(await settle(() => host.firewall.apply([{ frame: FRAME, add: [natted], remove: [] }])), 1);
  return other;
}

/** Sends so many packets out by each way, and waits for no answer. */
async function sendOut({ host, settle }: ContractFixture, packets: Record<WayOut, number>): Promise<void> {
  const probes = (Object.keys(WAYS) as WayOut[]).flatMap((way) =>
    Array.from({ length: packets[way] }, () => udp(way, WAYS[way].to, { payloadBytes: 100 })),
  );
  await settle(() => host.probes.send(probes));
}

/** That marks tell containers apart, whatever their addresses. */
export const firewallMarksContract: readonly ContractCase[] = [
  {
    name: 'ports whose containers have one address are marked apart, bridged, routed and into a tunnel: by their classes on the uplink',
    async run(fixture) {
      const { host, settle } = fixture;
      await buildWays(fixture);
      await addAll(fixture, [
        qdisc(UPLINK, 1),
        ...[1, 3, 4, 5, 6].map((minor) => shaperClass(UPLINK, minor)),
        filter(UPLINK),
      ]);
      const apply = async (add: FirewallElement[], remove: FirewallElement[] = []): Promise<void> =>
        assertApplied(await settle(() => host.firewall.apply([{ add, remove }])), 1);
      const counted = async (): Promise<Record<string, number>> =>
        Object.fromEntries(
          (await host.shaper.counters([UPLINK])).map(({ minor, sentPackets }) => [minor, sentPackets]),
        );

      await sendOut(fixture, { bridged: 1, routed: 1, tunnelled: 1 });
      const { 1: rest, ...none } = await counted();
      assert.deepEqual(none, { 3: 0, 4: 0, 5: 0, 6: 0 });
      assert.ok(rest! >= 3, `only ${rest} packets passed the default`);

      await apply((Object.keys(WAYS) as WayOut[]).map((way) => markOfWay(way)));
      await sendOut(fixture, { bridged: 5, routed: 7, tunnelled: 9 });
      assert.deepEqual({ ...(await counted()), 1: 0 }, { 1: 0, 3: 5, 4: 7, 5: 9, 6: 0 });

      await apply([markOfWay('bridged', 6)], [markOfWay('routed')]);
      await sendOut(fixture, { bridged: 2, routed: 2, tunnelled: 2 });
      const last = await counted();
      assert.deepEqual({ ...last, 1: 0 }, { 1: 0, 3: 5, 4: 7, 5: 11, 6: 2 });
      assert.ok(last[1]! >= rest! + 2, 'what is marked no more passes the default');
    },
  },
  {
    name: 'what comes from another address than the mark is for is not marked, and what is answered is not either',
    async run(fixture) {
      const { host, settle } = fixture;
      const other = await buildWays(fixture);
      await addAll(fixture, [qdisc(UPLINK, 1), shaperClass(UPLINK, 1), shaperClass(UPLINK, 3), filter(UPLINK)]);
      assertApplied(await settle(() => host.firewall.apply([{ add: [markOfWay('bridged')], remove: [] }])), 1);
      const answering = await settle(() => other.probes.answer([{ namespace: '', port: PORT }]));
      try {
        const forged = udp('bridged', THERE, { forgedSource: '10.9.1.77' });
        const [wrong, right] = await settle(() => host.probes.send([forged, udp('bridged', THERE)]));
        assert.equal(wrong!.answeredBy, null);
        assert.equal(right!.answeredBy, 'other/');
        const counters = await host.shaper.counters([UPLINK]);
        assert.equal(counters.find(({ minor }) => minor === 3)?.sentPackets, 1);
      } finally {
        await settle(() => answering.close());
      }
    },
  },
  {
    name: 'a mark goes no further than its host: on the next one the packet has none',
    async run(fixture) {
      const { host, settle } = fixture;
      const other = await buildWays(fixture);
      const beyond = { ...fixture, host: other };
      const port = { namespace: '', name: 'plx-z' };
      await attach(beyond, 'z', port.name, '10.8.0.2/24');
      await setLinks(
        beyond,
        ['eth0', port.name].map((name) => change('', name, { forwarding: true })),
      );
      await addEntries(beyond, [
        address('', port.name, '10.8.0.1/24'),
        { kind: 'route', namespace: 'z', link: 'eth0', to: '0.0.0.0/0', via: '10.8.0.1' },
      ]);
      await addEntries(fixture, [{ kind: 'route', namespace: '', link: 'eth0', to: '10.8.0.0/24', via: THERE }]);
      for (const [at, link] of [
        [fixture, UPLINK],
        [beyond, port],
      ] as const)
        await addAll(at, [qdisc(link, 1), shaperClass(link, 1), shaperClass(link, 3), filter(link)]);
      assertApplied(await settle(() => host.firewall.apply([{ add: [markOfWay('bridged')], remove: [] }])), 1);
      const answering = await settle(() => other.probes.answer([{ namespace: 'z', port: PORT }]));
      try {
        const sent = Array.from({ length: 4 }, () => udp('bridged', '10.8.0.2'));
        for (const { answeredBy, why } of await settle(() => host.probes.send(sent)))
          assert.equal(answeredBy, 'other/z', why);
      } finally {
        await settle(() => answering.close());
      }
      const third = (counters: readonly ClassCounters[]) => counters.find(({ minor }) => minor === 3)?.sentPackets;
      assert.equal(third(await host.shaper.counters([UPLINK])), 4);
      const there = await other.shaper.counters([port]);
      assert.equal(third(there), 0);
      assert.ok(there[0]!.sentPackets >= 4);
    },
  },
];
