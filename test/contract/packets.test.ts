// The parts of the packet bench on real packets: what is sent, what is counted, what is answered.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { identityOf } from '../../backends/linux/owner.ts';
import { startEcho } from '../../bench/nic/echo.ts';
import { cpusHere, type Generating, warmUp } from '../../bench/nic/generator.ts';
import { Senders } from '../../bench/nic/generators/processes.ts';
import { sendmmsg } from '../../bench/nic/generators/sendmmsg.ts';
import { trafgen } from '../../bench/nic/generators/trafgen.ts';
import { udpSegment } from '../../bench/nic/generators/udp-segment.ts';
import { PacketProcesses } from '../../bench/nic/packet-processes.ts';
import { startConversing } from '../../bench/nic/request-response.ts';
import { insistOnFrames } from '../../bench/nic/sink.ts';
import { come, countsOf, HEADERS_BYTES, insistExact, insistPaced, receivedBy, since } from './linux-packets.ts';
import { waitUntil, whyNotHere } from './linux.ts';
import { type PacketWires, withPlace } from './packet-place.ts';

const reason = whyNotHere();
if (reason !== null) process.stdout.write(`skipped: the packet bench on Linux: ${reason}\n`);

const askers = new PacketProcesses();
afterAll(() => askers.close());

const children = (): number[] =>
  readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);

const inside = ({ root }: Pick<PacketWires, 'root'>, namespace: string, ...words: readonly string[]): string =>
  execFileSync('nsenter', [`--net=${root.pathOf(namespace)}`, ...words], { encoding: 'utf8' });

describe.skipIf(reason !== null)('the packet bench', () => {
  test.for([sendmmsg, udpSegment])('every datagram is counted once, and none that was not sent', async (make) => {
    await insistExact(make());
  });

  test.for([sendmmsg, udpSegment])('sends no faster than asked, and from each of several', async (make) => {
    await insistPaced(make());
  });

  test('trafgen too, and no faster than asked', async ({ skip }) => {
    await withPlace('whether', 1, async (place) => {
      const lacking = await trafgen().whyNot(place);
      if (lacking !== null) skip(lacking);
    });
    await insistExact(trafgen());
    await withPlace('pace', 2, async (place) => {
      const begunMs = performance.now();
      const flood = { containers: place.containers, payloadBytes: 64, packetsPerSec: 1000 };
      const generating = await trafgen().start(place, flood);
      await come(place.sink, 5000);
      const { packets } = await generating.stop();
      // What is for a second it sends at once.
      const seconds = 1 + (performance.now() - begunMs) / 1000;
      expect(packets).toBeGreaterThanOrEqual(5000);
      expect(packets).toBeLessThanOrEqual(2 * 1000 * seconds);
    });
  });

  test('an answer comes from the address that was asked', async () => {
    await withPlace('secondary', 1, async (place) => {
      inside(place, 'sink', 'ip', 'addr', 'add', '10.99.0.1/32', 'dev', place.farLink(0));
      inside(place, 'c0', 'ip', 'route', 'add', '10.99.0.1/32', 'dev', 'eth0');
      const echo = await startEcho(place.sinkFile);
      try {
        const containers = [{ namespace: 'c0', target: '10.99.0.1' }];
        const conversing = await startConversing(place, { containers, protocol: 'udp', payloadBytes: 8 }, askers);
        expect((await conversing.stop()).lost).toBe(0);
      } finally {
        await echo.close();
      }
    });
  });

  test('what a link takes whole counts as one, and that is found out', async () => {
    await withPlace('whole', 1, async (place) => {
      const { containers, sink } = place;
      const senders = new Senders('udp-segment');
      try {
        const generating = await senders.start(place, { containers, payloadBytes: 64 }, 32);
        const before = await countsOf(sink);
        await come(sink, 100);
        const after = await countsOf(sink);
        await generating.stop();
        expect(() => insistOnFrames(before, after, 64, 'veth')).toThrow(
          /^veth: \d+ packets of 20\d\d\.\d bytes .* instead of 92\.0: .*ethtool -K LINK tx-udp-segmentation off/,
        );
      } finally {
        await senders.close();
      }
    });
  });

  test('cutting up at the link is undone', async () => {
    await withPlace('undone', 1, async (place) => {
      const most = (): string =>
        /gso_max_segs (\d+)/.exec(inside(place, 'c0', 'ip', '-d', 'link', 'show', 'eth0'))![1]!;
      const before = most();
      const generator = udpSegment();
      try {
        expect(await generator.whyNot(place)).toBeNull();
        expect(most()).toBe(before);
        const generating = await generator.start(place, { containers: place.containers, payloadBytes: 64 });
        expect(most()).toBe('1');
        await generating.stop();
        expect(most()).toBe(before);
      } finally {
        await generator.close();
      }
    });
  });

  test('a packet in a tunnel counts with what is around it', async () => {
    await withPlace('tunnel', 1, async (place) => {
      const { root, containers, sink } = place;
      const tunnel = ['type', 'vxlan', 'id', '7', 'dstport', '47890', 'noudpcsum'];
      const inner = '02:00:00:00:00:07';
      inside(place, 'c0', 'ip', 'link', 'add', 'vx0', ...tunnel, 'remote', containers[0]!.target, 'dev', 'eth0');
      inside(place, 'c0', 'ip', 'addr', 'add', '10.9.0.1/24', 'dev', 'vx0');
      inside(place, 'c0', 'ip', 'link', 'set', 'vx0', 'up');
      inside(place, 'c0', 'ip', 'neigh', 'add', '10.9.0.2', 'lladdr', inner, 'dev', 'vx0');
      const generator = sendmmsg();
      try {
        await warmUp(place, containers);
        const begun = await countsOf(sink);
        const through = [{ namespace: 'c0', target: '10.9.0.2' }];
        const generating = await generator.start(
          { root, containers, sink },
          { containers: through, payloadBytes: 100 },
        );
        const before = await countsOf(sink);
        await come(sink, 1000);
        const after = await countsOf(sink);
        const { packets } = await generating.stop();
        const end = await countsOf(sink);
        expect(end.tunnelPackets - begun.tunnelPackets).toBe(end.packets - begun.packets);
        expect(packets).toBeLessThanOrEqual(end.packets - begun.packets);
        // Around it: IPv4, UDP, VXLAN, Ethernet.
        // Read in a flood, a packet may be counted whose bytes are not yet.
        const whole = (after.packets - before.packets) * (100 + HEADERS_BYTES + 50);
        expect(Math.abs(since(before, after).bytes - whole)).toBeLessThanOrEqual(16 * (100 + HEADERS_BYTES + 50));
        insistOnFrames(before, after, 100, 'tunnel');
        expect(() => insistOnFrames(before, after, 110, 'tunnel')).toThrow(/somebody else sends to port 9/);
      } finally {
        await generator.close();
      }
    });
  });

  test('the links count what the rule counts', async () => {
    await withPlace('links', 1, async (place) => {
      const { containers, sink } = place;
      await warmUp(place, containers);
      const read = async () => ({ rule: await countsOf(sink), link: receivedBy(place.root, place.farLink(0)) });
      const before = await read();
      const generator = sendmmsg();
      try {
        const generating = await generator.start(place, { containers, payloadBytes: 64, packetsPerSec: 1000 });
        await come(sink, 100);
        await generating.stop();
      } finally {
        await generator.close();
      }
      const after = await read();
      const { packets, bytes } = since(before.rule, after.rule);
      const others = after.link.packets - before.link.packets - packets;
      // A few questions for addresses, of 42 bytes.
      expect(others).toBeGreaterThanOrEqual(0);
      expect(others).toBeLessThan(20);
      expect(after.link.bytes - before.link.bytes - 42 * others).toBe(bytes + 14 * packets);
    });
  });

  test('senders are spread over the CPUs that this process may use', async () => {
    await withPlace('spread', 2, async (place) => {
      const generator = sendmmsg();
      try {
        const earlier = children();
        const generating = await generator.start(place, { containers: place.containers, payloadBytes: 64 });
        const cpuOf = (pid: number): string =>
          /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync(`/proc/${pid}/task/${pid}/status`, 'utf8'))![1]!;
        const own = children().filter((pid) => !earlier.includes(pid));
        await generating.sent();
        const [last, other = last] = cpusHere();
        expect(own.map(cpuOf).toSorted()).toEqual([String(last), String(other)].toSorted());
        await generating.stop();
      } finally {
        await generator.close();
      }
    });
  });

  test('a sender that is killed, and a link that goes down, are told of; nothing goes on', async () => {
    await withPlace('dies', 1, async (place) => {
      const { containers, sink } = place;
      const generator = sendmmsg();
      const ended = async (generating: Generating): Promise<string> => {
        const error = await generating.stop().then(
          () => null,
          (thrown: unknown) => thrown,
        );
        return String(error);
      };
      try {
        const earlier = children();
        const first = await generator.start(place, { containers, payloadBytes: 64 });
        const pid = children().find((each) => !earlier.includes(each));
        process.kill(pid!, 'SIGKILL');
        await waitUntil(() => identityOf(pid!) === null, 'it to end');
        expect(first.cpuUs()).toBeGreaterThanOrEqual(0);
        expect(await ended(first)).toMatch(/^Error: what sends from c0 \(sendmmsg\) has ended: by SIGKILL/);
        // The next flood has a process of its own.
        const second = await generator.start(place, { containers, payloadBytes: 64 });
        await come(sink, 1000);
        inside(place, 'c0', 'ip', 'link', 'set', 'eth0', 'down');
        expect(await ended(second)).toMatch(/sends from c0 .* has ended: .*ENET(?:UNREACH|DOWN)/);
        await expect(generator.start(place, { containers, payloadBytes: 64 })).rejects.toThrow(/c0/);
      } finally {
        await generator.close();
      }
    });
  });

  test.for(['udp', 'tcp'] as const)('asks and is answered by %s', async (protocol) => {
    await withPlace('asks', 2, async (place) => {
      const { containers, sinkFile } = place;
      await expect(startConversing(place, { containers, protocol, payloadBytes: 1 }, askers)).rejects.toThrow(
        protocol === 'udp' ? /nobody answers at 198\.19\.\d\.1 udp port 7/ : /ECONNREFUSED/,
      );
      const echo = await startEcho(sinkFile);
      try {
        await expect(startEcho(sinkFile)).rejects.toThrow(/port 7 .*EADDRINUSE/);
        for (const payloadBytes of [1, 1400]) {
          const conversing = await startConversing(place, { containers, protocol, payloadBytes }, askers);
          const begunMs = performance.now();
          await waitUntil(() => performance.now() - begunMs > 200, 'some to be answered');
          const { count, lost, perSec, latencies } = await conversing.stop();
          expect(count).toBeGreaterThan(2);
          expect(lost).toBe(0);
          expect(perSec).toBeGreaterThan(0);
          expect(latencies.count).toBe(count);
          expect(latencies.percentileUs(0.5)).toBeLessThanOrEqual(latencies.percentileUs(0.99));
          expect(latencies.percentileUs(0.99)).toBeLessThanOrEqual(latencies.maxUs);
        }
      } finally {
        await echo.close();
      }
    });
  });
});
