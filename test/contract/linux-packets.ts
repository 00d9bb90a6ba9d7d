// What every generator of the packet bench must do; as bodies where the kernel that has one is a guest's.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { basename } from 'node:path';
import type { NetworkRoot } from '../../backends/linux/netns.ts';
import { type Generator, warmUp } from '../../bench/nic/generator.ts';
import { pktgen } from '../../bench/nic/generators/pktgen.ts';
import { insistOnFrames, type Sink, type SinkCounts } from '../../bench/nic/sink.ts';
import type { ContractCase } from './contract.ts';
import { waitUntil } from './linux.ts';
import { withPlace } from './packet-place.ts';

/** Headers of IPv4 and UDP. */
export const HEADERS_BYTES = 28;

export const countsOf = async (sink: Sink): Promise<SinkCounts> => await sink.counts();

/** Waits until so many more have come. */
export async function come(sink: Sink, packets: number): Promise<void> {
  const before = await countsOf(sink);
  await waitUntil(async () => (await countsOf(sink)).packets - before.packets >= packets, `${packets} packets to come`);
}

export const since = (before: SinkCounts, after: SinkCounts): { packets: number; bytes: number } => ({
  packets: after.packets - before.packets,
  bytes: after.bytes - before.bytes,
});

/** What a link of the sink's has received, as `ip` tells it. */
export function receivedBy(root: NetworkRoot, link: string): { packets: number; bytes: number } {
  const namespace = basename(root.pathOf('sink'));
  const text = execFileSync('ip', ['-n', namespace, '-s', '-j', 'link', 'show', 'dev', link], { encoding: 'utf8' });
  return (JSON.parse(text) as { stats64: { rx: { packets: number; bytes: number } } }[])[0]!.stats64.rx;
}

/** Every datagram is counted once, and none that was not sent, from two containers and of several sizes. */
export async function insistExact(generator: Generator): Promise<void> {
  await withPlace(`exact-${generator.name}`, 2, async (place) => {
    const { containers, sink } = place;
    assert.equal(await generator.whyNot(place), null);
    try {
      for (const payloadBytes of [Math.max(1, generator.payloadBytesMin), 64, 256]) {
        // Afterwards it asks for no more addresses, and what it sends alone is counted.
        await warmUp(place, containers);
        const begun: SinkCounts[] = [];
        const recording: Sink = {
          counts: async () => {
            begun.push(await countsOf(sink));
            return begun.at(-1)!;
          },
          close: () => sink.close(),
        };
        const generating = await generator.start({ ...place, sink: recording }, { containers, payloadBytes });
        const cpuUs = generating.cpuUs();
        await come(sink, 20_000);
        assert.ok(generating.cpuUs() > cpuUs, 'it sends and takes no time');
        const sent = await generating.stop();
        const after = await countsOf(sink);
        const before = begun.at(-1)!;
        const wanted = { packets: sent.packets, bytes: sent.packets * (payloadBytes + HEADERS_BYTES) };
        assert.deepEqual(since(before, after), wanted);
        insistOnFrames(before, after, payloadBytes, 'here');
      }
    } finally {
      await generator.close();
    }
  });
}

/** From each of two it sends no faster than asked, and not much slower. */
export async function insistPaced(generator: Generator): Promise<void> {
  await withPlace(`paced-${generator.name}`, 2, async (place) => {
    const { containers, root } = place;
    try {
      // Another pace before: what is left of it must not count.
      for (const packetsPerSec of [20_000, 2000]) {
        const begunMs = performance.now();
        const generating = await generator.start(place, { containers, payloadBytes: 64, packetsPerSec });
        let sent = await generating.sent();
        while (sent.packets < 2 * packetsPerSec) sent = await generating.sent();
        const tookMs = performance.now() - begunMs;
        const { packets, refused } = await generating.stop();
        assert.ok(packets >= sent.packets && refused === 0, `${packets} sent, ${refused} refused`);
        // What it was kept from sending it may make up for; of a message the last may be too early.
        const most = 2 * ((packetsPerSec / 1000) * tookMs + 32);
        assert.ok(sent.packets <= most, `${sent.packets} in ${tookMs} ms`);
        // Neither sends for the other.
        const each = containers.map((_, index) => receivedBy(root, place.farLink(index)).packets);
        assert.ok(Math.min(...each) > (each[0]! + each[1]!) / 3, `${each.join(' and ')} came`);
      }
    } finally {
      await generator.close();
    }
  });
}

/** Where pktgen is loaded. */
export const pktgenContract: readonly ContractCase[] = [
  { name: 'every datagram of pktgen is counted once, and none that was not sent', run: () => insistExact(pktgen()) },
  { name: 'pktgen sends no faster than asked, and from each of several', run: () => insistPaced(pktgen()) },
];
