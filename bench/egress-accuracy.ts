import { monotonicMs, linuxClock } from '../backends/linux/clock.ts';
import { egressOf } from '../src/egress/picture.ts';
import type { Receiving } from '../src/host/probes.ts';
import { minorOf } from '../src/host/shaper.ts';
import type { GoOn } from './attach.ts';
import { type EgressPlace, makeEgressPlace, markElement, SINK_ADDRESS, UPLINK } from './egress-place.ts';
import { insist } from './nic/picture.ts';
import { SINK } from './nic/wire.ts';
import { type BenchResult, result } from './result.ts';

const KNOWN = 1000;
const UPLINK_BITS_PER_SEC = 10e9;
const FIRST_PORT = 7000;
/** UDP is sent so much faster than it may pass: enough to keep a queue, and no CPU is spent on what is dropped. */
const OVER = 1.1;
/** Of little, so much that a burst is used up before it is measured. */
const SLOW_OVER = 2;
/** Before it is measured a stream has used up its burst and found its pace. */
const BEFORE_MS = 300;
const BEFORE_BYTES = 60_000;
const LOOK_MS = 50;
/** On a machine that is too busy to send this much there is nothing to measure. */
const PATIENCE_MS = 60_000;
/** A round in which the machine could not send enough is tried again so often. */
const TRIES = 5;

interface Case {
  readonly mbit: number;
  readonly protocol: 'tcp' | 'udp';
}

const MBITS = [1, 10, 100, 500] as const;
/** Up to here a packet of 64 KiB takes longer than a look. */
const SLOW_MBIT = 10;
const PROTOCOLS = ['tcp', 'udp'] as const;
const CASES: readonly Case[] = MBITS.flatMap((mbit) => PROTOCOLS.map((protocol) => ({ mbit, protocol })));

/** Together what a slow machine can send; each is measured over so long, or longer where it is slower. */
const PHASES: readonly { readonly cases: readonly Case[]; readonly overMs: number }[] = [
  { cases: CASES.filter(({ mbit }) => mbit <= SLOW_MBIT), overMs: 4000 },
  { cases: CASES.filter(({ mbit }) => mbit === 100), overMs: 2000 },
  ...CASES.filter(({ mbit }) => mbit === 500).map((one) => ({ cases: [one], overMs: 2000 })),
];

/** What leaves by the wire over what may, of containers among a thousand that are shaped. */
export async function measureAccuracy(runs: number, goOn: GoOn): Promise<BenchResult[]> {
  goOn(`${KNOWN} containers, ${CASES.length} of them with ceilings to be measured`);
  const place = await makeEgressPlace({
    name: 'accuracy',
    known: KNOWN,
    real: CASES.length,
    inFrames: CASES.filter(({ mbit }) => mbit <= SLOW_MBIT).length,
  });
  try {
    const minors = await shape(place);
    const rounds = new Map(CASES.map((one): [Case, number[]] => [one, []]));
    for (let run = 1; run <= runs; run++) {
      goOn(`rates on the wire, round ${run} of ${runs}`);
      for (const { cases, overMs } of PHASES) {
        goOn();
        let measured = await measure(place, minors, cases, overMs);
        for (let tried = 1; measured.wasStarved && tried < TRIES; tried++) {
          goOn('this machine was too busy to send enough: once more');
          measured = await measure(place, minors, cases, overMs);
        }
        const { ratios } = measured;
        for (const [index, one] of cases.entries()) rounds.get(one)!.push(ratios[index]!);
      }
    }
    return MBITS.flatMap((mbit) =>
      resultsOf(mbit, (protocol) => rounds.get(CASES.find((one) => one.mbit === mbit && one.protocol === protocol)!)!),
    );
  } finally {
    await place.close();
  }
}

/** Returns the minor of each case's class. */
async function shape(place: EgressPlace): Promise<ReadonlyMap<Case, number>> {
  const shaped = place.containers.map(({ name, port, address }, index) => ({
    name,
    egress: { ceilingBitsPerSec: (CASES[index]?.mbit ?? 1) * 1e6 },
    ports: [{ family: 'bridge' as const, port, address }],
    within: [],
    functions: [],
  }));
  const { objects, marks } = egressOf(shaped, UPLINK, { uplinkBitsPerSec: UPLINK_BITS_PER_SEC }, [], place.unshaped);
  const add = place.containers.map((container, index) => markElement(container, marks[index]!.value!));
  insist(await place.firewall.apply([{ add, remove: [] }]));
  await place.shape(objects);
  return new Map(CASES.map((one, index) => [one, minorOf(marks[index]!.value!)!]));
}

interface Measured {
  /** Wire rate over limit, of each. */
  readonly ratios: readonly number[];
  /** Nothing of a datagram stream was dropped, so its queue was not full: then it was not its class that held it back. */
  readonly wasStarved: boolean;
}

/** All of them at once. */
async function measure(
  place: EgressPlace,
  minors: ReadonlyMap<Case, number>,
  cases: readonly Case[],
  overMs: number,
): Promise<Measured> {
  const { probes, containers } = place;
  // Slower ones fill no queue in this time, and starve on no machine.
  const flooding = cases
    .filter(({ protocol, mbit }) => protocol === 'udp' && mbit >= 100)
    .map((one) => minors.get(one)!);
  const ports = cases.map((_, index) => FIRST_PORT + index);
  const limits = cases.map(({ mbit }) => (mbit * 1e6) / 8000);
  const receiving = await probes.receive(
    cases.map(({ protocol }, index) => ({ namespace: SINK, port: ports[index]!, protocol })),
  );
  try {
    const streaming = await probes.stream(
      cases.map((one, index) => ({
        from: containers[CASES.indexOf(one)]!.name,
        to: SINK_ADDRESS,
        port: ports[index]!,
        protocol: one.protocol,
        ...(one.protocol === 'udp' && {
          rateBitsPerSec: one.mbit * 1e6 * (one.mbit <= SLOW_MBIT ? SLOW_OVER : OVER),
        }),
      })),
    );
    try {
      const begun = await sampleOnce(
        receiving,
        limits.map((limit) => limit * BEFORE_MS + BEFORE_BYTES),
      );
      const droppedBefore = await droppedOf(place, flooding);
      const ended = await sampleOnce(
        receiving,
        limits.map((limit, index) => begun.bytes[index]! + limit * overMs),
      );
      const dropped = await droppedOf(place, flooding);
      return {
        ratios: limits.map(
          (limit, index) => (ended.bytes[index]! - begun.bytes[index]!) / (ended.atMs - begun.atMs) / limit,
        ),
        wasStarved: dropped.some((count, index) => count === droppedBefore[index]!),
      };
    } finally {
      await streaming.close();
    }
  } finally {
    await receiving.close();
  }
}

/** How many packets each of these classes has dropped. */
async function droppedOf({ shaper }: EgressPlace, minors: readonly number[]): Promise<number[]> {
  const counters = await shaper.counters([{ namespace: '', name: UPLINK }]);
  return minors.map((own) => counters.find(({ minor }) => minor === own)!.droppedPackets);
}

interface Sample {
  readonly atMs: number;
  readonly bytes: readonly number[];
}

/** What has come when each has got this far. */
async function sampleOnce(receiving: Receiving, wanted: readonly number[]): Promise<Sample> {
  const begunMs = monotonicMs();
  for (;;) {
    const askedMs = monotonicMs();
    const bytes = await receiving.wireBytes();
    if (bytes.every((has, index) => has >= wanted[index]!)) return { atMs: (askedMs + monotonicMs()) / 2, bytes };
    if (monotonicMs() - begunMs > PATIENCE_MS)
      throw new Error(`after ${PATIENCE_MS / 1000} s only ${bytes.join(', ')} of ${wanted.join(', ')} bytes have come`);
    await linuxClock.sleep(LOOK_MS);
  }
}

/** Of both protocols, and the worse of both. */
function resultsOf(mbit: number, roundsOf: (protocol: Case['protocol']) => readonly number[]): BenchResult[] {
  const id = `egress.accuracy_${mbit}mbit`;
  const [tcp, udp] = PROTOCOLS.map((protocol) => result(`${id}_${protocol}`, 'of the limit', roundsOf(protocol))) as [
    BenchResult,
    BenchResult,
  ];
  const worse = Math.abs(tcp.value - 1) > Math.abs(udp.value - 1) ? tcp : udp;
  return [{ ...worse, id }, tcp, udp];
}
