import assert from 'node:assert/strict';
import type { LinkName } from '../../src/host/links.ts';
import { markOf } from '../../src/host/shaper.ts';
import { ADDRESS_THERE, assertApplied, type ContractCase } from './contract.ts';
import { addEntries, attach, probe, udp } from './network.ts';
import { addAll, filter, qdisc, shaperClass } from './shaper.ts';

const HERE: LinkName = { namespace: '', name: 'v0' };
const UPLINK: LinkName = { namespace: '', name: 'eth0' };

/** That the filter and the classes act on packets. */
export const shaperPacketsContract: readonly ContractCase[] = [
  {
    name: 'counters tell what passed each class: marked packets in that of their mark, all others in the default',
    async run(fixture) {
      const { host, settle } = fixture;
      const other = await fixture.another('other');
      await attach(fixture, 'web', 'v0', '10.9.1.2/24');
      await addEntries(fixture, [
        { kind: 'address', namespace: '', link: 'v0', prefix: '10.9.1.1/24' },
        { kind: 'route', namespace: 'web', link: 'eth0', to: '0.0.0.0/0', via: '10.9.1.1' },
      ]);
      assertApplied(await settle(() => host.links.set([{ ...HERE, set: { forwarding: true } }])), 1);
      assertApplied(await settle(() => host.links.set([{ ...UPLINK, set: { forwarding: true } }])), 1);
      await addEntries({ ...fixture, host: other }, [
        { kind: 'route', namespace: '', link: 'eth0', to: '10.9.1.0/24', via: '192.168.77.11' },
      ]);
      await addAll(fixture, [
        qdisc(UPLINK, 1),
        ...[1, 2, 3].map((minor) => shaperClass(UPLINK, minor)),
        filter(UPLINK),
      ]);
      const mark = (minor: number) => ({
        family: 'inet' as const,
        set: 'marks',
        key: 'v0 . 10.9.1.2',
        value: markOf(minor),
      });
      const by = ['iifname', 'ip saddr'] as const;
      const frame = {
        sets: [{ family: 'inet', name: 'marks', fields: by, to: ['meta mark'] }],
        chains: [
          {
            family: 'inet',
            name: 'prerouting',
            type: 'filter',
            hook: 'prerouting',
            priority: -150,
            rules: [{ when: [], verdict: { mark: { map: 'marks', by } } }],
          },
        ],
      } as const;
      assertApplied(await settle(() => host.firewall.apply([{ frame, add: [mark(2)], remove: [] }])), 1);
      const there = ADDRESS_THERE.split('/')[0]!;
      const send = async (from: string, count: number): Promise<void> => {
        const probes = Array.from({ length: count }, () => udp(from, there, { payloadBytes: 100 }));
        const results = await probe(fixture, [{ host: other, namespace: '' }], probes);
        for (const { answeredBy, why } of results) assert.equal(answeredBy, 'other/', why);
      };
      const counted = async () =>
        (await host.shaper.counters([UPLINK])).map(({ minor, sentPackets }) => [minor, sentPackets] as const);
      await send('web', 5);
      const first = await host.shaper.counters([UPLINK]);
      // 100 bytes of payload, 8 of UDP, 20 of IP and 14 of Ethernet.
      assert.deepEqual(first[1], { ...UPLINK, minor: 2, sentBytes: 5 * 142, sentPackets: 5, droppedPackets: 0 });
      await send('', 7);
      const [rest, second, third] = await counted();
      // What resolves addresses passes there too.
      assert.ok(rest![1] - first[0]!.sentPackets >= 7, `only ${rest![1]} packets passed the default`);
      assert.deepEqual(
        [second, third],
        [
          [2, 5],
          [3, 0],
        ],
      );
      assertApplied(await settle(() => host.firewall.apply([{ add: [mark(3)], remove: [mark(2)] }])), 1);
      await send('web', 4);
      assert.deepEqual((await counted()).slice(1), [
        [2, 5],
        [3, 4],
      ]);
    },
  },
];
