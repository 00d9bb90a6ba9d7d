import { expect, test } from 'vitest';
import { Packet } from '../../../../backends/sim/packet.ts';
import type { Simulation } from '../../../../backends/sim/simulation.ts';
import type { FirewallFrame } from '../../../../src/host/firewall.ts';
import type { Host } from '../../../../src/host/host.ts';
import { CLASS_MINOR_MAX, markOf, type ShaperClass, type ShaperObject } from '../../../../src/host/shaper.ts';
import { bridge, container, done, hostsOnFabric, icmp, sent, tunnel } from './lab.ts';

const UPLINK = { namespace: '', name: 'eth0' };
const FILTER: ShaperObject = { ...UPLINK, kind: 'filter' };
const qdisc = (defaultMinor: number): ShaperObject => ({ ...UPLINK, kind: 'qdisc', defaultMinor });
const shaperClass = (minor: number, parentMinor = 0): ShaperClass => ({
  ...UPLINK,
  kind: 'class',
  minor,
  parentMinor,
  rateBitsPerSec: 8_000_000,
  ceilBitsPerSec: 8_000_000,
  burstBytes: 15_000,
  ceilBurstBytes: 15_000,
  quantumBytes: 1500,
  fairQueue: false,
});

/** Marks by port and source, off a bridge; what has the mark of class 9 the host does not send. */
const MARKING: FirewallFrame = {
  sets: [{ family: 'bridge', name: 'marks', fields: ['iifname', 'ip saddr'], to: ['meta mark'] }],
  chains: [
    {
      family: 'bridge',
      name: 'prerouting',
      type: 'filter',
      hook: 'prerouting',
      priority: -300,
      rules: [{ when: [], verdict: { mark: { map: 'marks', by: ['iifname', 'ip saddr'] } } }],
    },
    {
      family: 'inet',
      name: 'output',
      type: 'filter',
      hook: 'output',
      priority: 0,
      rules: [{ when: [{ fields: ['meta mark'], is: { value: markOf(9) } }], verdict: 'drop' }],
    },
  ],
};

const mark = (name: string, address: string, minor: number) =>
  ({ family: 'bridge', set: 'marks', key: `plp-${name} . ${address}`, value: markOf(minor) }) as const;

/** A tunnel from `a` and `c` on h1 to `b`, 10.0.0.2, on h2. */
async function tunnelled(): Promise<{ simulation: Simulation; h1: Host }> {
  const simulation = hostsOnFabric(2);
  const [h1, h2] = [simulation.host('h1'), simulation.host('h2')];
  const macs = { a: '02:00:00:00:00:01', b: '02:00:00:00:00:02', c: '02:00:00:00:00:03' };
  for (const host of [h1, h2]) await bridge(host, 'plb-1');
  await container(h1, 'a', '10.0.0.1/24', { bridge: 'plb-1', mac: macs.a, mtu: 1450 });
  await container(h1, 'c', '10.0.0.3/24', { bridge: 'plb-1', mac: macs.c, mtu: 1450 });
  await container(h2, 'b', '10.0.0.2/24', { bridge: 'plb-1', mac: macs.b, mtu: 1450 });
  const [at1, at2] = ['192.168.77.11', '192.168.77.12'] as const;
  await tunnel(h1, 'plx-1', 'plb-1', 7, at1, [{ address: '10.0.0.2', mac: macs.b, host: at2 }]);
  await tunnel(h2, 'plx-1', 'plb-1', 7, at2, [
    { address: '10.0.0.1', mac: macs.a, host: at1 },
    { address: '10.0.0.3', mac: macs.c, host: at1 },
  ]);
  done(await h1.firewall.apply([{ frame: MARKING, add: [], remove: [] }]));
  return { simulation, h1 };
}

const ask = async (host: Host, from: string): Promise<string | null> =>
  (await sent(host, icmp(from, '10.0.0.2'))).answeredBy;

const counted = async (host: Host): Promise<Record<number, readonly number[]>> =>
  Object.fromEntries(
    (await host.shaper.counters([UPLINK])).map(({ minor, sentPackets, sentBytes }) => [
      minor,
      [sentPackets, sentBytes],
    ]),
  );

/** IP, ICMP and 64 bytes of payload in an Ethernet frame, in a VXLAN in another. */
const WIRE_BYTES = 92 + 50 + 14;

test('each packet into a tunnel is counted, in its class and all above, though its way is known', async () => {
  const { h1 } = await tunnelled();
  for (const from of ['a', 'c', 'a']) expect(await ask(h1, from)).toBe('kernel');
  done(await h1.shaper.add([qdisc(2), shaperClass(1), shaperClass(2, 1), shaperClass(3, 1), shaperClass(4), FILTER]));
  done(await h1.firewall.apply([{ add: [mark('a', '10.0.0.1', 3)], remove: [] }]));
  const before = (await counted(h1))[2]![0]!;
  expect(before).toBe(0);
  for (const from of ['c', 'a', 'c', 'a', 'a']) expect(await ask(h1, from)).toBe('kernel');
  const { 1: above, 2: rest, 3: marked, 4: none } = await counted(h1);
  expect(marked).toEqual([3, 3 * WIRE_BYTES]);
  expect(none).toEqual([0, 0]);
  expect(rest![0]).toBeGreaterThanOrEqual(2);
  expect(above).toEqual([3 + rest![0]!, 3 * WIRE_BYTES + rest![1]!]);
});

test('a mark that names no class without others under it, or no filter to look at it: the default; without one, uncounted', async () => {
  const { h1 } = await tunnelled();
  const total = async (): Promise<number[]> => Object.values(await counted(h1)).map(([packets]) => packets!);
  done(await h1.firewall.apply([{ add: [mark('a', '10.0.0.1', 5)], remove: [] }]));
  done(await h1.shaper.add([qdisc(2), shaperClass(1), shaperClass(2), shaperClass(5, 1)]));
  await ask(h1, 'c');
  const [, arp] = await total();
  await ask(h1, 'a');
  expect(await total()).toEqual([0, arp! + 1, 0]);
  done(await h1.shaper.add([FILTER]));
  await ask(h1, 'a');
  expect((await total())[2]).toBe(1);
  done(await h1.shaper.add([shaperClass(6, 5)]));
  const [, before] = await total();
  await ask(h1, 'a');
  // The change has made everybody ask for MAC addresses again.
  expect((await total())[1]).toBeGreaterThan(before!);
  expect((await total())[2]).toBe(1);
  done(await h1.shaper.remove([shaperClass(2)]));
  const left = await total();
  expect(await ask(h1, 'a')).toBe('kernel');
  expect(await total()).toEqual(left);
});

test('what a rule does by the mark of one packet it does not do to the next, whose way into the tunnel is the same', async () => {
  const { h1 } = await tunnelled();
  done(await h1.firewall.apply([{ add: [mark('a', '10.0.0.1', 9)], remove: [] }]));
  for (const [from, answer] of [
    ['c', 'kernel'],
    ['a', null],
    ['c', 'kernel'],
    ['a', null],
  ] as const)
    expect(await ask(h1, from)).toBe(answer);
});

test('ARP has no source that a mark could be looked up by', async () => {
  const { h1 } = await tunnelled();
  const input: FirewallFrame = {
    sets: MARKING.sets,
    chains: [
      MARKING.chains[0]!,
      {
        family: 'bridge',
        name: 'forward',
        type: 'filter',
        hook: 'forward',
        priority: 0,
        rules: [{ when: [{ fields: ['meta mark'], is: { value: markOf(3) } }], verdict: 'drop' }],
      },
    ],
  };
  done(await h1.firewall.apply([{ frame: input, add: [mark('a', '10.0.0.1', 3)], remove: [] }]));
  const { why } = await sent(h1, icmp('a', '10.0.0.2'));
  expect(why).toContain('meta mark 0x504c0003 drop');
  expect(why).not.toContain('nobody has');
});

test('no more than eight classes are one under another, and no minor is past the last', async () => {
  const h1 = hostsOnFabric(1).host('h1');
  const chain = Array.from({ length: 8 }, (_, index) => shaperClass(index + 1, index));
  done(await h1.shaper.add([qdisc(CLASS_MINOR_MAX), ...chain]));
  const { error } = await h1.shaper.add([shaperClass(9, 8)]);
  expect(error?.code).toBe('EINVAL');
});

test('an uplink may have a qdisc of somebody else from the first, or get one by hand, or lose it', async () => {
  const simulation = hostsOnFabric(1, {
    uplink: { prefix: '192.168.77.11/24', qdisc: { type: 'mq', handle: '8001:' } },
  });
  const h1 = simulation.host('h1');
  const foreign = { ...UPLINK, type: 'mq', handle: '8001:' };
  expect(await h1.shaper.list([UPLINK])).toEqual({ objects: [], foreign: [foreign] });
  expect((await h1.shaper.add([qdisc(0)])).error?.code).toBe('EEXIST');
  simulation.layForeignQdisc('h1', UPLINK, null);
  done(await h1.shaper.add([qdisc(0), shaperClass(1)]));
  simulation.layForeignQdisc('h1', UPLINK);
  expect(await h1.shaper.list([UPLINK])).toEqual({
    objects: [],
    foreign: [{ ...UPLINK, type: 'htb', handle: '1:' }],
  });
  expect((await h1.links.list([''])).find(({ name }) => name === 'eth0')?.qdisc).toBe('htb');
  expect(() => simulation.layForeignQdisc('h1', { namespace: '', name: 'eth9' })).toThrow(/no link/);
});

test('a copy of a packet has all that it has, but its trip', () => {
  const packet = new Packet();
  for (const [index, key] of Object.keys(packet).entries()) Object.assign(packet, { [key]: index + 1 });
  expect(new Packet().copyFrom(packet)).toEqual(Object.assign(new Packet(), packet, { trip: null }));
});
