// Random trees of classes with streams through them, as they are laid on a simulated host.
import fc from 'fast-check';
import type { PacketCosts } from '../../backends/sim/packet-costs.ts';
import { HOPS, type Hop } from '../../backends/sim/packet-costs.ts';
import type { Simulation } from '../../backends/sim/simulation.ts';
import type { Stream } from '../../src/host/probes.ts';
import { bytes, GIB } from '../../src/host/units.ts';
import { markOf, type ShaperClass } from '../../src/host/shaper.ts';
import { done } from '../unit/backends/sim/lab.ts';
import { simulate } from '../unit/backends/sim/harness.ts';

const UPLINK = { namespace: '', name: 'eth0' } as const;
const THERE = '192.168.77.12';
const FIRST_PORT = 7000;
const PAYLOAD_BYTES = 1458;
/** A datagram of it in a class. */
export const FRAME_BYTES = PAYLOAD_BYTES + 42;
const MBIT = 1_000_000;

/** A class, by the number of the one above it in the list; -1: under the qdisc. */
export interface CaseClass {
  readonly above: number;
  readonly rateMbit: number;
  /** Over its rate. */
  readonly moreMbit: number;
  readonly quantumBytes: number;
  readonly fairQueue: boolean;
}

/** Whom a stream is sorted to, by the number of a class; and what it offers, null: all it can. */
export interface CaseStream {
  readonly into: number;
  readonly protocol: Stream['protocol'];
  readonly mbit: number | null;
}

export interface PacketCase {
  /** Each above its own. */
  readonly classes: readonly CaseClass[];
  readonly streams: readonly CaseStream[];
  /** Of the card, Mbit/s; null: no card limits. */
  readonly cardMbit: number | null;
  readonly cpus: number;
  /** Of a datagram. */
  readonly costUs: number;
}

const often = <T>(weight: number, arbitrary: fc.Arbitrary<T>) => ({ weight, arbitrary });

/** Most are under the first, or under one that is, and guaranteed a part of it. */
const classes = fc
  .array(
    fc.record({
      above: fc.oneof(often(5, fc.constant(1)), often(3, fc.constant(2)), often(1, fc.nat({ max: 6 }))),
      rateMbit: fc.oneof(often(4, fc.integer({ min: 1, max: 12 })), often(1, fc.integer({ min: 1, max: 60 }))),
      moreMbit: fc.oneof(often(1, fc.constant(0)), often(3, fc.integer({ min: 1, max: 60 }))),
      quantumBytes: fc.constantFrom(1500, 3000, 15_000),
      fairQueue: fc.boolean(),
    }),
    { minLength: 2, maxLength: 7 },
  )
  .map((all): CaseClass[] =>
    all.map(({ above, rateMbit, ...one }, index) => ({
      ...one,
      rateMbit: index === 0 ? 5 * rateMbit : rateMbit,
      above: Math.min(above, index) - 1,
    })),
  );

export const packetCase: fc.Arbitrary<PacketCase> = fc.record({
  classes,
  streams: fc.array(
    fc.record({
      into: fc.integer({ min: 1, max: 7 }),
      protocol: fc.constantFrom('udp' as const, 'udp' as const, 'tcp' as const),
      mbit: fc.oneof(fc.constant(null), fc.integer({ min: 1, max: 150 })),
    }),
    { minLength: 1, maxLength: 6 },
  ),
  cardMbit: fc.oneof(often(2, fc.constant(null)), often(1, fc.integer({ min: 5, max: 100 }))),
  cpus: fc.integer({ min: 1, max: 2 }),
  costUs: fc.constantFrom(1, 1, 200, 1000),
});

export const isLeaf = ({ classes: all }: PacketCase, index: number): boolean =>
  all.every(({ above }) => above !== index);

/** The class that a stream ends up in: of one with others under it, or that is not there, none. */
export const leafOf = (given: PacketCase, { into }: CaseStream): number | null =>
  into < given.classes.length && isLeaf(given, into) ? into : null;

const costsOf = ({ costUs }: PacketCase): PacketCosts => ({
  nsPerHop: { ...(Object.fromEntries(HOPS.map((hop) => [hop, 0])) as Record<Hop, number>), send: costUs * 1000 },
  nsPerByte: 0,
  about: 'of a case',
});

/** So long streams go. */
export const SECONDS = 2;

/** What came of it. */
export interface Outcome {
  /** Mbit/s on the wire, of each stream. */
  readonly arrived: readonly number[];
  /** Mbit/s that passed each class, and packets dropped there. */
  readonly passed: readonly number[];
  readonly dropped: readonly number[];
}

/** Lays the case on a host, and lets its streams go. A look at half time must change nothing. */
export async function runPackets(given: PacketCase, looks = 1): Promise<Outcome> {
  const simulation = simulationOf(given);
  const [h1, h2] = [simulation.host('h1'), simulation.host('h2')];
  return await simulation.run(async () => {
    done(
      await h1.shaper.add([
        { ...UPLINK, kind: 'qdisc', defaultMinor: 0 },
        ...given.classes.map((one, index) => classOf(given, one, index)),
        { ...UPLINK, kind: 'filter' },
      ]),
    );
    // By port: what a socket's own mark would do.
    const frame = {
      sets: [{ family: 'inet', name: 'ports', fields: ['th dport'], to: ['meta mark'] }],
      chains: [
        {
          family: 'inet',
          name: 'output',
          type: 'filter',
          hook: 'output',
          priority: 0,
          rules: [{ when: [], verdict: { mark: { map: 'ports', by: ['th dport'] } } }],
        },
      ],
    } as const;
    const add = given.streams.map(({ into }, index) => ({
      family: 'inet' as const,
      set: 'ports',
      key: String(FIRST_PORT + index),
      value: markOf(into + 1),
    }));
    done(await h1.firewall.apply([{ frame, add, remove: [] }]));
    const receiving = await h2.probes.receive(
      given.streams.map(({ protocol }, index) => ({ namespace: '', port: FIRST_PORT + index, protocol })),
    );
    const streaming = await h1.probes.stream(
      given.streams.map(({ protocol, mbit }, index) => ({
        from: '',
        to: THERE,
        port: FIRST_PORT + index,
        protocol,
        payloadBytes: PAYLOAD_BYTES,
        ...(mbit !== null && protocol === 'udp' && { rateBitsPerSec: mbit * MBIT }),
      })),
    );
    for (let look = 0; look < looks; look++) {
      await h1.clock.sleep((SECONDS * 1000) / looks);
      await receiving.wireBytes();
    }
    await streaming.close();
    const mbit = (count: number): number => (count * 8) / SECONDS / MBIT;
    const counters = await h1.shaper.counters([UPLINK]);
    return {
      arrived: (await receiving.wireBytes()).map(mbit),
      passed: counters.map(({ sentBytes }) => mbit(sentBytes)),
      dropped: counters.map(({ droppedPackets }) => droppedPackets),
    };
  });
}

function simulationOf(given: PacketCase): Simulation {
  const machine = { ramBytes: bytes(GIB), cgroupVersion: 2 as const };
  const nics = given.cardMbit === null ? [] : [{ link: 'eth0', driver: 'igb', speedBitsPerSec: given.cardMbit * MBIT }];
  return simulate({
    costs: costsOf(given),
    hosts: [
      { ...machine, name: 'h1', cpus: given.cpus, nics },
      { ...machine, name: 'h2', cpus: 64 },
    ],
  });
}

const classOf = (
  given: PacketCase,
  { above, rateMbit, moreMbit, quantumBytes, fairQueue }: CaseClass,
  index: number,
): ShaperClass => ({
  ...UPLINK,
  kind: 'class',
  minor: index + 1,
  parentMinor: above + 1,
  rateBitsPerSec: rateMbit * MBIT,
  ceilBitsPerSec: (rateMbit + moreMbit) * MBIT,
  burstBytes: 15_000,
  ceilBurstBytes: 15_000,
  quantumBytes,
  fairQueue: fairQueue && isLeaf(given, index),
});
