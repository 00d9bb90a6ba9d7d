// What egress shaping does to packets: marks, classes and streams together.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { runMark } from '../../backends/linux/owner.ts';
import { classNumbers } from '../../src/egress/classes.ts';
import type { FirewallFrame } from '../../src/host/firewall.ts';
import type { Receiving, Stream, StreamPlace } from '../../src/host/probes.ts';
import { type ClassCounters, markOf, type ShaperClass } from '../../src/host/shaper.ts';
import { assertApplied, type ContractCase, type ContractFixture } from './contract.ts';
import { addEntries, address, attach, bridge, change, makeLinks, setLinks } from './network.ts';

const UPLINK = { namespace: '', name: 'up0' } as const;
const OUTSIDE = '192.168.77.1';
const FIRST_PORT = 7100;
const WHOLE = 1;

/** The part of the product's filter that marks. */
const FRAME: FirewallFrame = {
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
  ],
};

interface Container {
  readonly rateBitsPerSec: number;
  readonly ceilBitsPerSec: number;
  readonly protocol: Stream['protocol'];
  /** Of UDP: more than may pass. */
  readonly sendsBitsPerSec?: number;
}

const nameOf = (index: number): string => `c${index}`;
const addressOf = (index: number): string => `10.1.0.${index + 5}`;
const minorOf = (index: number): number => index + 3;

const classOf = (
  minor: number,
  parentMinor: number,
  rates: Pick<ShaperClass, 'rateBitsPerSec' | 'ceilBitsPerSec'>,
): ShaperClass => ({
  ...UPLINK,
  kind: 'class',
  minor,
  parentMinor,
  ...rates,
  ...classNumbers(rates),
  // Not every kernel has fq_codel, and no rate is kept by it.
  fairQueue: false,
});

/** Containers on a bridge, routed to somebody outside by an uplink of this rate, each marked for its class. */
async function lay(
  fixture: ContractFixture,
  containers: readonly Container[],
  uplinkBitsPerSec: number,
): Promise<void> {
  const { host, settle } = fixture;
  await attach(fixture, 'outside', UPLINK.name, `${OUTSIDE}/24`);
  await makeLinks(fixture, [bridge('br0')]);
  await setLinks(fixture, [
    change('', 'br0', { up: true, forwarding: true }),
    change('', UPLINK.name, { forwarding: true }),
  ]);
  await addEntries(fixture, [
    address('', 'br0', '10.1.0.1/24'),
    address('', UPLINK.name, '192.168.77.2/24'),
    { kind: 'route', namespace: 'outside', link: 'eth0', to: '10.1.0.0/24', via: '192.168.77.2' },
  ]);
  for (const index of containers.keys()) {
    await attach(fixture, nameOf(index), `v${index}`, `${addressOf(index)}/24`, 'br0');
    await addEntries(fixture, [
      { kind: 'route', namespace: nameOf(index), link: 'eth0', to: '0.0.0.0/0', via: '10.1.0.1' },
    ]);
    if (fixture.backend !== 'linux') continue;
    // A veth would take 64 KiB of TCP for one packet: half a second of what the least of these lets pass.
    const namespace = `${runMark(host.name)}+${nameOf(index)}`;
    execFileSync('ip', ['-n', namespace, 'link', 'set', 'dev', 'eth0', 'gso_max_segs', '1']);
  }
  const add = [...containers.keys()].map((index) => ({
    family: 'bridge' as const,
    set: 'marks',
    key: `v${index} . ${addressOf(index)}`,
    value: markOf(minorOf(index)),
  }));
  assertApplied(await settle(() => host.firewall.apply([{ frame: FRAME, add, remove: [] }])), 1);
  const whole = { rateBitsPerSec: uplinkBitsPerSec, ceilBitsPerSec: uplinkBitsPerSec };
  const objects = [
    { ...UPLINK, kind: 'qdisc' as const, defaultMinor: 0 },
    classOf(WHOLE, 0, whole),
    ...containers.map((container, index) => classOf(minorOf(index), WHOLE, container)),
    { ...UPLINK, kind: 'filter' as const },
  ];
  assertApplied(await settle(() => host.shaper.add(objects)), objects.length);
}

/** Bits a second on the wire of each, all sending at once, over the time in which each has sent so many bytes. */
async function rates(
  { host, waitUntil }: ContractFixture,
  containers: readonly Container[],
  bytes: readonly number[],
): Promise<number[]> {
  const places = containers.map(({ protocol }, index): StreamPlace => ({
    namespace: 'outside',
    port: FIRST_PORT + index,
    protocol,
  }));
  const receiving = await host.probes.receive(places);
  const streaming = await host.probes.stream(
    containers.map(({ protocol, sendsBitsPerSec }, index): Stream => ({
      from: nameOf(index),
      to: OUTSIDE,
      port: FIRST_PORT + index,
      protocol,
      ...(sendsBitsPerSec !== undefined && { rateBitsPerSec: sendsBitsPerSec }),
    })),
  );
  const sample = async (receivers: Receiving, wanted: readonly number[]) => {
    let seen: readonly number[] = [];
    let atMs = 0;
    await waitUntil(
      async () => {
        const askedMs = host.clock.monotonicMs();
        seen = await receivers.wireBytes();
        atMs = (askedMs + host.clock.monotonicMs()) / 2;
        return seen.every((has, index) => has >= wanted[index]!);
      },
      `${wanted.join(', ')} bytes`,
    );
    return { seen, atMs };
  };
  try {
    // First what may pass at once, then the pace.
    const begun = await sample(
      receiving,
      bytes.map((each) => 40_000 + each / 10),
    );
    const ended = await sample(
      receiving,
      bytes.map((each, index) => begun.seen[index]! + each),
    );
    return ended.seen.map((each, index) => ((each - begun.seen[index]!) * 8000) / (ended.atMs - begun.atMs));
  } finally {
    await streaming.close();
    await receiving.close();
  }
}

const passedBy = (counters: readonly ClassCounters[], index: number): number =>
  counters.find(({ minor }) => minor === minorOf(index))!.sentPackets;

const ceiling = (mbit: number, protocol: Stream['protocol']): Container => ({
  rateBitsPerSec: 8000,
  ceilBitsPerSec: mbit * 1e6,
  protocol,
  ...(protocol === 'udp' && { sendsBitsPerSec: mbit * 1.5e6 }),
});

/** Rates as the kernel keeps them. */
export const egressRatesContract: readonly ContractCase[] = [
  {
    name: 'a ceiling is what leaves by the wire, of TCP and of UDP, within 2 %',
    async run(fixture) {
      const containers = [ceiling(1, 'tcp'), ceiling(1, 'udp'), ceiling(10, 'tcp'), ceiling(10, 'udp')];
      await lay(fixture, containers, 1e9);
      // Six seconds of each.
      const seen = await rates(
        fixture,
        containers,
        containers.map(({ ceilBitsPerSec }) => (ceilBitsPerSec / 8) * 6),
      );
      const ratios = seen.map((rate, index) => rate / containers[index]!.ceilBitsPerSec);
      for (const ratio of ratios)
        assert.ok(Math.abs(ratio - 1) <= 0.02, `wire rate over ceiling: ${ratios.join(', ')}`);
    },
  },
  {
    name: 'a guarantee is kept while four neighbours send all they can',
    async run(fixture) {
      const uplinkBitsPerSec = 10e6;
      const quiet: Container = { rateBitsPerSec: 6e6, ceilBitsPerSec: 10e6, protocol: 'tcp' };
      const noisy: Container = { rateBitsPerSec: 8000, ceilBitsPerSec: 10e6, protocol: 'udp', sendsBitsPerSec: 20e6 };
      const containers = [quiet, noisy, noisy, noisy, noisy];
      await lay(fixture, containers, uplinkBitsPerSec);
      const [own, ...others] = await rates(fixture, containers, [4.5e6, 5e5, 5e5, 5e5, 5e5]);
      const total = others.reduce((sum, rate) => sum + rate, own!);
      assert.ok(own! >= 6e6 * 0.98, `it was given ${own} bit/s of its 6 Mbit/s; the others ${others.join(', ')}`);
      assert.ok(Math.abs(total / uplinkBitsPerSec - 1) <= 0.02, `the uplink of 10 Mbit/s carried ${total} bit/s`);
    },
  },
  {
    name: 'what stays on the bridge passes no class',
    async run(fixture) {
      const { host, waitUntil } = fixture;
      const containers = [ceiling(1, 'tcp'), ceiling(1, 'udp')];
      await lay(fixture, containers, 1e9);
      const receiving = await host.probes.receive([{ namespace: 'c1', port: FIRST_PORT, protocol: 'tcp' }]);
      const streaming = await host.probes.stream([{ from: 'c0', to: addressOf(1), port: FIRST_PORT, protocol: 'tcp' }]);
      // Ten minutes at its ceiling.
      await waitUntil(async () => (await receiving.wireBytes())[0]! > 75e6, '75 MB from one to the other');
      await streaming.close();
      await receiving.close();
      const counters = await host.shaper.counters([UPLINK]);
      assert.deepEqual([passedBy(counters, 0), passedBy(counters, 1)], [0, 0]);
    },
  },
];
