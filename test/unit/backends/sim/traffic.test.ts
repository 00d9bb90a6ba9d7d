import { describe, expect, test } from 'vitest';
import type { SimulatedMachine } from '../../../../backends/sim/machine.ts';
import { type Hop, HOPS, type PacketCosts } from '../../../../backends/sim/packet-costs.ts';
import type { Simulation } from '../../../../backends/sim/simulation.ts';
import type { HostError } from '../../../../src/host/errors.ts';
import type { Host } from '../../../../src/host/host.ts';
import type { Receiving, Stream, Streaming } from '../../../../src/host/probes.ts';
import type { ShaperClass } from '../../../../src/host/shaper.ts';
import { bytes, GIB } from '../../../../src/host/units.ts';
import { simulate } from './harness.ts';
import { add, bridge, container, done, set, tunnel } from './lab.ts';

const THERE = '192.168.77.12';
const UPLINK = { namespace: '', name: 'eth0' };
const MBIT = 1_000_000;

/** A microsecond to send, one to forward, and nothing else. */
const PLAIN: PacketCosts = {
  nsPerHop: {
    ...(Object.fromEntries(HOPS.map((hop) => [hop, 0])) as Record<Hop, number>),
    send: 1000,
    route: 1000,
    vf: null,
  },
  nsPerByte: 0,
  about: 'made up',
};

/** h1 and h2 on a fabric, of two CPUs each. */
const twoHosts = (costs: PacketCosts = PLAIN, first: Partial<SimulatedMachine> = {}): Simulation =>
  simulate({
    costs,
    hosts: ['h1', 'h2'].map((name, index) => ({
      name,
      ramBytes: bytes(GIB),
      cpus: 2,
      cgroupVersion: 2 as const,
      ...(index === 0 && first),
    })),
  });

const stream = (more: Partial<Stream> = {}): Stream => ({ from: '', to: THERE, port: 9, protocol: 'udp', ...more });
const udpEnd = (port = 9) => ({ namespace: '', port, protocol: 'udp' }) as const;
const tcpEnd = (port = 9) => ({ namespace: '', port, protocol: 'tcp' }) as const;

/** Lets so much time pass. */
const pass = (simulation: Simulation, delayMs: number): Promise<void> =>
  simulation.run(() => simulation.host('h1').clock.sleep(delayMs));

/** What a second brings to each place. */
async function ratesOf(simulation: Simulation, receiving: Receiving): Promise<number[]> {
  const before = await receiving.wireBytes();
  await pass(simulation, 1000);
  return (await receiving.wireBytes()).map((after, index) => after - before[index]!);
}

async function measured(simulation: Simulation, streams: readonly Stream[]): Promise<number[]> {
  const [h1, h2] = [simulation.host('h1'), simulation.host('h2')];
  const receiving = await h2.probes.receive(streams.map(({ port, protocol }) => ({ namespace: '', port, protocol })));
  try {
    const streaming = await h1.probes.stream(streams);
    const rates = await ratesOf(simulation, receiving);
    await streaming.close();
    return rates;
  } finally {
    await receiving.close();
  }
}

const shaped = async (host: Host, classes: readonly (Partial<ShaperClass> & { minor: number })[], defaultMinor = 1) =>
  done(
    await host.shaper.add([
      { ...UPLINK, kind: 'qdisc', defaultMinor },
      ...classes.map((more): ShaperClass => ({
        ...UPLINK,
        kind: 'class',
        parentMinor: 0,
        rateBitsPerSec: 8 * MBIT,
        ceilBitsPerSec: 8 * MBIT,
        burstBytes: 15_000,
        ceilBurstBytes: 15_000,
        quantumBytes: 15_000,
        fairQueue: false,
        ...more,
      })),
    ]),
  );

const refused = (code: string, words: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(words) as string }) as HostError;

describe('CPUs', () => {
  test('a stream is one thread’s work, and a host’s threads share its CPUs', async () => {
    const simulation = twoHosts();
    const frames = (count: number) =>
      Array.from({ length: count }, (_, index) => stream({ port: 9 + index, payloadBytes: 64 }));
    expect(await measured(simulation, frames(1))).toEqual([1_000_000 * 106]);
    expect(await measured(simulation, frames(2))).toEqual([1_000_000 * 106, 1_000_000 * 106]);
    expect(await measured(simulation, frames(4))).toEqual(
      [500_000, 500_000, 500_000, 500_000].map((each) => each * 106),
    );
  });

  test('bytes cost their sender', async () => {
    const simulation = twoHosts({ ...PLAIN, nsPerByte: 10 });
    // 100 bytes of IP.
    expect(await measured(simulation, [stream({ payloadBytes: 72 })])).toEqual([500_000 * 114]);
  });

  test('TCP goes its way once for many segments', async () => {
    const simulation = twoHosts();
    // 43 segments of 1500 bytes are 64 KiB.
    expect(await measured(simulation, [stream({ protocol: 'tcp' })])).toEqual([43_000_000 * 1514]);
  });
});

describe('a class', () => {
  test('lets its rate pass, and counts what does and what does not while time goes on', async () => {
    const simulation = twoHosts();
    const h1 = simulation.host('h1');
    await shaped(h1, [{ minor: 1 }]);
    const streaming = await h1.probes.stream([stream({ payloadBytes: 958, rateBitsPerSec: 16 * MBIT })]);
    const counted = async () => (await h1.shaper.counters([UPLINK]))[0];
    await pass(simulation, 500);
    expect(await counted()).toMatchObject({ sentPackets: 500, sentBytes: 500_000, droppedPackets: 500 });
    await pass(simulation, 500);
    expect(await counted()).toMatchObject({ sentPackets: 1000, sentBytes: 1_000_000, droppedPackets: 1000 });
    await streaming.close();
    await pass(simulation, 500);
    expect(await counted()).toMatchObject({ sentPackets: 1000, droppedPackets: 1000 });
  });

  test('that changes lets as much pass as it did until then, and drops nothing of TCP', async () => {
    const simulation = twoHosts();
    const [h1, h2] = [simulation.host('h1'), simulation.host('h2')];
    await shaped(h1, [{ minor: 1 }]);
    const receiving = await h2.probes.receive([tcpEnd()]);
    const streaming = await h1.probes.stream([stream({ protocol: 'tcp' })]);
    await pass(simulation, 1000);
    await shaped(h1, [{ minor: 1, rateBitsPerSec: 16 * MBIT, ceilBitsPerSec: 16 * MBIT }]);
    await pass(simulation, 1000);
    const [came] = await receiving.wireBytes();
    expect(Math.abs(came! - 3e6)).toBeLessThan(2 * 1514);
    expect((await h1.shaper.counters([UPLINK]))[0]).toMatchObject({ sentBytes: came, droppedPackets: 0 });
    await streaming.close();
  });

  test('shares a fair queue by turns, and another by what comes', async () => {
    const given = [stream({ rateBitsPerSec: 24 * MBIT }), stream({ port: 10, rateBitsPerSec: 8 * MBIT })];
    for (const [fairQueue, parts] of [
      [true, [0.5, 0.5]],
      [false, [0.75, 0.25]],
    ] as const) {
      const simulation = twoHosts();
      await shaped(simulation.host('h1'), [{ minor: 1, fairQueue }]);
      const rates = await measured(simulation, given);
      for (const [index, rate] of rates.entries()) expect(Math.abs(rate - parts[index]! * 1e6)).toBeLessThan(1514);
    }
  });
});

describe('cards', () => {
  /** A VF of a card of 1 Gbit/s in the namespace `v` of h1, beside the uplink. */
  async function withVf(costs: PacketCosts, maxRateBitsPerSec = 0): Promise<Simulation> {
    const simulation = twoHosts(costs, { nics: [{ link: 'pf0', driver: 'igb' }] });
    const h1 = simulation.host('h1');
    await simulation.run(async () => {
      done(await h1.virtualFunctions.enable([{ pf: 'pf0', count: 1 }]));
      done(await h1.virtualFunctions.bind([{ pf: 'pf0', index: 0 }]));
      done(await h1.virtualFunctions.set([{ pf: 'pf0', index: 0, set: { maxRateBitsPerSec } }]));
      done(await h1.namespaces.create(['v']));
      done(await h1.links.move([{ namespace: '', name: 'eth1', to: { namespace: 'v', name: 'eth0' } }]));
      await set(h1, 'eth0', { up: true }, 'v');
      await add(h1, { kind: 'address', namespace: 'v', link: 'eth0', prefix: '192.168.77.60/24' });
    });
    return simulation;
  }

  test('carry what their speed does, with all that an Ethernet adds', async () => {
    const simulation = await withVf(PLAIN);
    // 1514 of a frame, and 24 that nobody counts.
    expect(await measured(simulation, [stream({ from: 'v' })])).toEqual([Math.floor(125e6 / 1538) * 1514]);
  });

  test('hold a VF to its max_tx_rate', async () => {
    const simulation = await withVf(PLAIN, 100 * MBIT);
    expect(await measured(simulation, [stream({ from: 'v' })])).toEqual([Math.floor(12.5e6 / 1514) * 1514]);
  });

  test('tell no rate that a VF’s own cost would make, where nobody measured that', async () => {
    const uncalibrated = await withVf(PLAIN);
    // So small that the wire would carry more than a CPU sends.
    const small = stream({ from: 'v', payloadBytes: 18 });
    await expect(measured(uncalibrated, [small])).rejects.toEqual(refused('EOPNOTSUPP', 'not calibrated: vf'));
    // Not held back by it.
    expect(await measured(uncalibrated, [{ ...small, rateBitsPerSec: 10 * MBIT }])).toEqual([
      Math.floor(1.25e6 / 60) * 60,
    ]);
    const { nsPerHop } = PLAIN;
    const calibrated = await withVf({ ...PLAIN, nsPerHop: { ...nsPerHop, vf: 3000 } });
    expect(await measured(calibrated, [small])).toEqual([250_000 * 60]);
  });
});

describe('what is not modelled is refused', () => {
  test('somebody else’s qdisc, by name, before and while packets go', async () => {
    const simulation = twoHosts();
    const [h1, h2] = [simulation.host('h1'), simulation.host('h2')];
    const words = "htb 1:, somebody else's on eth0 of h1";
    simulation.layForeignQdisc('h1', UPLINK);
    await expect(h1.probes.stream([stream()])).rejects.toEqual(refused('EOPNOTSUPP', words));
    simulation.layForeignQdisc('h1', UPLINK, null);
    const receiving = await h2.probes.receive([udpEnd(), udpEnd(10)]);
    const streaming = await h1.probes.stream([stream({ rateBitsPerSec: MBIT })]);
    await pass(simulation, 100);
    expect((await receiving.wireBytes())[0]).toBeGreaterThan(0);
    simulation.layForeignQdisc('h1', UPLINK);
    await pass(simulation, 100);
    await expect(receiving.wireBytes()).rejects.toEqual(refused('EOPNOTSUPP', words));
    await streaming.close();
  });

  test('datagrams that would be cut', async () => {
    const simulation = twoHosts();
    const large = stream({ payloadBytes: 1473 });
    await expect(simulation.host('h1').probes.stream([large])).rejects.toEqual(refused('EOPNOTSUPP', 'fragments'));
  });
});

test('TCP’s segments are as large as a tunnel lets through', async () => {
  const simulation = twoHosts();
  const macs = ['02:00:00:00:00:01', '02:00:00:00:00:02'];
  const hosts = ['192.168.77.11', THERE];
  for (const [index, name] of ['h1', 'h2'].entries()) {
    const host = simulation.host(name);
    await bridge(host, 'br0');
    await container(host, 'c', `10.0.0.${index + 1}/24`, { bridge: 'br0', mac: macs[index]!, mtu: 1450 });
    const far = { address: `10.0.0.${2 - index}`, mac: macs[1 - index]!, host: hosts[1 - index]! };
    await tunnel(host, 'vx0', 'br0', 7, hosts[index]!, [far]);
  }
  const [h1, h2] = [simulation.host('h1'), simulation.host('h2')];
  await shaped(h1, [{ minor: 1 }]);
  const receiving = await h2.probes.receive([{ ...tcpEnd(), namespace: 'c' }]);
  const streaming = await h1.probes.stream([stream({ from: 'c', to: '10.0.0.2', protocol: 'tcp' })]);
  await pass(simulation, 1000);
  // The class counts the tunnel's headers with each, who receives does not.
  expect(await receiving.wireBytes()).toEqual([Math.floor(1e6 / 1514) * 1464]);
  await streaming.close();
});

test('packets are whole, and none is lost by looking at them', async () => {
  const simulation = twoHosts();
  const receiving = await simulation.host('h2').probes.receive([udpEnd()]);
  await simulation.host('h1').probes.stream([stream({ rateBitsPerSec: MBIT })]);
  for (let ms = 0; ms < 100; ms++) {
    await pass(simulation, 10);
    expect((await receiving.wireBytes())[0]! % 1514).toBe(0);
  }
  expect(await receiving.wireBytes()).toEqual([Math.floor(MBIT / 8 / 1514) * 1514]);
});

test('a connection whose end was closed is over; datagrams find the next', async () => {
  const simulation = twoHosts();
  const [h1, h2] = [simulation.host('h1'), simulation.host('h2')];
  let receiving = await h2.probes.receive([tcpEnd(), udpEnd()]);
  const streaming: Streaming = await h1.probes.stream([stream({ protocol: 'tcp' }), stream()]);
  expect((await ratesOf(simulation, receiving)).map((rate) => rate > 0)).toEqual([true, true]);
  await receiving.close();
  receiving = await h2.probes.receive([tcpEnd(), udpEnd()]);
  expect((await ratesOf(simulation, receiving)).map((rate) => rate > 0)).toEqual([false, true]);
  await streaming.close();
});

test('a port is taken by one, whoever answers or receives there', async () => {
  const simulation = twoHosts();
  const { probes } = simulation.host('h2');
  const answering = await probes.answer([{ namespace: '', port: 9 }]);
  await expect(probes.receive([udpEnd()])).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await probes.receive([tcpEnd()]);
  await answering.close();
  await probes.receive([udpEnd()]);
  await expect(probes.answer([{ namespace: '', port: 9 }])).rejects.toMatchObject({ code: 'EADDRINUSE' });
});

test('TCP needs a way back', async () => {
  const simulation = twoHosts();
  const [h1, h2] = [simulation.host('h1'), simulation.host('h2')];
  await container(h1, 'web', '10.1.0.5/24');
  await add(h1, { kind: 'address', namespace: '', link: 'plp-web', prefix: '10.1.0.1/24' });
  await add(h1, { kind: 'route', namespace: 'web', link: 'eth0', to: '0.0.0.0/0', via: '10.1.0.1' });
  await set(h1, 'plp-web', { forwarding: true });
  const receiving = await h2.probes.receive([tcpEnd(), udpEnd()]);
  const tcp = stream({ from: 'web', protocol: 'tcp' });
  await expect(h1.probes.stream([tcp])).rejects.toEqual(refused('EHOSTUNREACH', 'nobody answers there'));
  await h1.probes.stream([stream({ from: 'web' })]);
  expect((await ratesOf(simulation, receiving))[1]).toBe(500_000 * 1514);
  await set(h1, 'eth0', { forwarding: true });
  await add(h2, { kind: 'route', namespace: '', link: 'eth0', to: '10.1.0.0/24', via: '192.168.77.11' });
  await h1.probes.stream([tcp]);
});
