import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SHIPPED_COSTS } from '../../backends/sim/calibration.ts';
import { costNs } from '../../backends/sim/packet-costs.ts';
import type { FirewallRule } from '../../src/host/firewall.ts';
import { done, hostsOnFabric } from '../unit/backends/sim/lab.ts';
import {
  type CaseStream,
  FRAME_BYTES,
  isLeaf,
  leafOf,
  type Outcome,
  packetCase,
  type PacketCase,
  runPackets,
  SECONDS,
} from './packet-model-cases.ts';
import { Reach, runs } from './reach.ts';

/** A case that was printed, to be run again: PLIMSOLL_PACKET_CASE='{…}' vitest run THIS. */
const printed = process.env['PLIMSOLL_PACKET_CASE'];

/** Mbit/s: what counting whole packets may leave out, of each stream and class. */
const SLACK = 0.1;
/** A card carries 24 bytes more with each frame. */
const OF_LINE = FRAME_BYTES / (FRAME_BYTES + 24);
/** A full segment of TCP on the wire, and those that go their way at once. */
const SEGMENT_BYTES = 1514;
const AT_ONCE = 43;

const CASES = [
  'congestion',
  'borrowing',
  'a borrower at its ceiling',
  'a class whose own lends nothing, under one that does',
  'guarantees beyond what is above them',
  'TCP beside UDP in one class',
  'a stream in no class',
  'CPUs that hold back',
  'a card that holds back',
];

const sum = (all: readonly number[]): number => all.reduce((total, each) => total + each, 0);
const offered = ({ protocol, mbit }: CaseStream): number => (protocol === 'tcp' || mbit === null ? Infinity : mbit);

/** What a case and its outcome say of classes. */
class Seen {
  readonly given: PacketCase;
  readonly outcome: Outcome;

  constructor(given: PacketCase, outcome: Outcome) {
    this.given = given;
    this.outcome = outcome;
  }

  get leaves(): number[] {
    return [...this.given.classes.keys()].filter((index) => isLeaf(this.given, index));
  }

  rate(index: number): number {
    return this.given.classes[index]!.rateMbit;
  }

  ceiling(index: number): number {
    return this.rate(index) + this.given.classes[index]!.moreMbit;
  }

  /** The classes above, from below. */
  above(index: number): number[] {
    const all: number[] = [];
    for (let at = this.given.classes[index]!.above; at >= 0; at = this.given.classes[at]!.above) all.push(at);
    return all;
  }

  wanted(leaf: number): number {
    return sum(this.given.streams.filter((each) => leafOf(this.given, each) === leaf).map(offered));
  }

  guaranteed(leaf: number): number {
    return Math.min(this.wanted(leaf), this.rate(leaf));
  }

  /** What passes a class though nothing above it lends any: its own rate, or what those under it are sure of. */
  own(index: number): number {
    if (isLeaf(this.given, index)) return this.guaranteed(index);
    const below = this.given.classes.flatMap(({ above }, at) => (above === index ? [this.own(at)] : []));
    return Math.max(this.rate(index), sum(below));
  }

  under(index: number): number[] {
    return this.leaves.filter((leaf) => leaf === index || this.above(leaf).includes(index));
  }

  get direct(): number[] {
    return this.outcome.arrived.filter((_, index) => leafOf(this.given, this.given.streams[index]!) === null);
  }

  /** Nothing but classes holds anything back. */
  get isOfClassesAlone(): boolean {
    return this.given.cardMbit === null && this.given.costUs === 1;
  }
}

/** What is wrong with an outcome, in words. */
function faultsOf(seen: Seen): string[] {
  const { given, outcome } = seen;
  const faults: string[] = [];
  const insist = (holds: boolean, words: string): void => void (holds || faults.push(words));
  const { arrived, passed } = outcome;
  for (const [index, stream] of given.streams.entries())
    insist(arrived[index]! <= offered(stream) + SLACK, `stream ${index} brings more than it offers`);
  for (const index of given.classes.keys()) {
    const isTop = seen.above(index).length === 0;
    const most = isTop && !isLeaf(given, index) ? 0 : seen.ceiling(index);
    insist(passed[index]! <= Math.max(most, seen.own(index)) + SLACK, `class ${index} lets more pass than it may`);
    const own = arrived.filter((_, at) => seen.under(index).includes(leafOf(given, given.streams[at]!) ?? -1));
    insist(Math.abs(sum(own) - passed[index]!) <= SLACK * 2, `class ${index} counts what does not arrive`);
  }
  for (const leaf of seen.leaves)
    insist(passed[leaf]! <= seen.ceiling(leaf) + SLACK, `class ${leaf} is above its own ceiling`);
  if (given.cardMbit !== null)
    insist(sum(arrived) <= given.cardMbit + SLACK, `the card carries ${sum(arrived)} of ${given.cardMbit} Mbit/s`);
  insist(cpuShare(seen) <= given.cpus + 0.01, `it takes ${cpuShare(seen)} of ${given.cpus} CPUs`);
  if (seen.isOfClassesAlone) faults.push(...unkeptOf(seen));
  return faults;
}

/** CPUs that the streams took: what a class dropped was sent too. */
function cpuShare({ given: { streams, costUs }, outcome: { arrived, dropped } }: Seen): number {
  const sendsPerSec = arrived.map((mbit, index) => {
    const isTcp = streams[index]!.protocol === 'tcp';
    return (mbit * 1e6) / 8 / (isTcp ? SEGMENT_BYTES * AT_ONCE : FRAME_BYTES);
  });
  return ((sum(sendsPerSec) + sum(dropped) / SECONDS) * costUs) / 1e6;
}

/** Where only classes hold back: guarantees that are not kept, and what somebody could have had and has not. */
function unkeptOf(seen: Seen): string[] {
  const { passed } = seen.outcome;
  return seen.leaves.flatMap((leaf) => {
    const isShort = passed[leaf]! < Math.min(seen.wanted(leaf), seen.ceiling(leaf)) - SLACK;
    if (passed[leaf]! < seen.guaranteed(leaf) - SLACK) return [`class ${leaf} is not given its guarantee`];
    const above = seen.above(leaf);
    const reachable = above.slice(
      0,
      above.findIndex((each) => passed[each]! >= seen.ceiling(each) - SLACK) + 1 || Infinity,
    );
    const lender = reachable.find((each) => passed[each]! < seen.rate(each) - SLACK);
    return isShort && lender !== undefined ? [`class ${leaf} could borrow of class ${lender}`] : [];
  });
}

function metIn(seen: Seen): string[] {
  const { given, outcome } = seen;
  const { passed, dropped, arrived } = outcome;
  const met: string[] = [];
  const borrowers = seen.leaves.filter((leaf) => passed[leaf]! > seen.rate(leaf) + SLACK);
  if (sum(dropped) > 0) met.push(CASES[0]!);
  if (borrowers.length > 0) met.push(CASES[1]!);
  if (borrowers.some((leaf) => passed[leaf]! > seen.ceiling(leaf) - SLACK)) met.push(CASES[2]!);
  if (borrowers.some((leaf) => seen.above(leaf).some((each, at) => at > 0 && passed[each]! > 0))) met.push(CASES[3]!);
  const isOver = (index: number): boolean => seen.own(index) > seen.ceiling(index);
  if ([...given.classes.keys()].some((index) => !isLeaf(given, index) && isOver(index))) met.push(CASES[4]!);
  const kinds = Map.groupBy(given.streams, (each) => leafOf(given, each));
  if ([...kinds].some(([leaf, all]) => leaf !== null && new Set(all.map(({ protocol }) => protocol)).size > 1))
    met.push(CASES[5]!);
  if (seen.direct.length > 0) met.push(CASES[6]!);
  if (cpuShare(seen) > given.cpus - 0.01) met.push(CASES[7]!);
  if (given.cardMbit !== null && sum(arrived) > given.cardMbit * OF_LINE - SLACK * 3) met.push(CASES[8]!);
  return met;
}

async function judge(given: PacketCase): Promise<Seen> {
  const seen = new Seen(given, await runPackets(given));
  expect(faultsOf(seen), `PLIMSOLL_PACKET_CASE='${JSON.stringify(given)}'`).toEqual([]);
  return seen;
}

test('classes keep what they promise, and nothing carries more than it can', async () => {
  if (printed !== undefined) {
    await judge(JSON.parse(printed) as PacketCase);
    return;
  }
  const reach = new Reach(CASES);
  await fc.assert(
    fc.asyncProperty(packetCase, async (given) => {
      reach.add(metIn(await judge(given)));
    }),
    runs(4000),
  );
  reach.demand();
});

test('the same again is the same, and looking at it changes nothing', async () => {
  await fc.assert(
    fc.asyncProperty(packetCase, async (given) => {
      const once = await runPackets(given);
      expect(await runPackets(given)).toEqual(once);
      const watched = await runPackets(given, 7);
      for (const [index, mbit] of once.arrived.entries())
        expect(Math.abs(watched.arrived[index]! - mbit)).toBeLessThanOrEqual(SLACK);
    }),
    runs(500),
  );
});

/** Rules that a packet of ours never meets, and what they look at. */
const rule = fc.constantFrom<FirewallRule>(
  { when: [{ fields: ['ip saddr'], is: { value: '203.0.113.1' } }], verdict: 'drop' },
  { when: [{ fields: ['iifname'], is: { value: 'nosuch' } }], verdict: 'drop' },
  { when: [{ fields: ['th dport'], is: { value: '53' } }], verdict: 'drop' },
  {
    when: [
      { fields: ['ip daddr'], is: { value: '192.168.77.12' } },
      { fields: ['ip saddr'], is: { value: '203.0.113.1' } },
    ],
    verdict: 'drop',
  },
  { when: [{ fields: ['ct state'], is: { value: 'established' } }], verdict: 'accept' },
);
const hook = fc.constantFrom('output', 'postrouting', 'forward');

test('more rules are never cheaper', async () => {
  const reach = new Reach(['dearer', 'as dear, off the way']);
  await fc.assert(
    fc.asyncProperty(
      fc.array(rule, { maxLength: 6 }),
      fc.array(rule, { minLength: 1, maxLength: 4 }),
      fc.nat({ max: 6 }),
      hook,
      async (rules, more, at, where) => {
        const costOf = async (all: readonly FirewallRule[]): Promise<number> => {
          const simulation = hostsOnFabric(2);
          const chain = { family: 'inet', name: 'c', type: 'filter', hook: where, priority: 0, rules: all } as const;
          done(
            await simulation.host('h1').firewall.apply([{ frame: { sets: [], chains: [chain] }, add: [], remove: [] }]),
          );
          const hops = simulation.hopsOf('h1', { from: '', to: '192.168.77.12', port: 9, payloadBytes: 64 });
          return costNs(hops!['h1']!, 92, SHIPPED_COSTS);
        };
        const [before, after] = [await costOf(rules), await costOf(rules.toSpliced(at, 0, ...more))];
        expect(after).toBeGreaterThanOrEqual(before);
        reach.add([after > before ? 'dearer' : 'as dear, off the way']);
      },
    ),
    runs(500),
  );
  reach.demand();
});
