import { monotonicMs } from '../backends/linux/clock.ts';
import { egressOf } from '../src/egress/picture.ts';
import { minorOf, type ShaperClass, type ShaperObject } from '../src/host/shaper.ts';
import type { GoOn } from './attach.ts';
import { Load } from './egress-load.ts';
import {
  addBandwidth,
  addRule,
  CNI_NAME,
  flushRules,
  hasBandwidthPlugin,
  layBandwidthCrowd,
  layClasses,
  layRules,
  removeRule,
  RULES_NAME,
} from './egress-peers.ts';
import {
  type BenchContainer,
  containerAfter,
  type EgressPlace,
  makeEgressPlace,
  markElement,
  UPLINK,
} from './egress-place.ts';
import { insist } from './nic/picture.ts';
import { PinnedThread } from './pinned-thread.ts';
import { type BenchResult, median, resultBeside } from './result.ts';

/** More than is ever sent: what is measured is the way through the classes, not their waiting. */
const PLENTY_BITS_PER_SEC = 40e9;
/** 100 ms and more of sending: small enough that all who are compared see the same machine. */
const PACKETS = 20_000;
/** They take turns so often in a round, whose figure is the median of them. */
const TURNS = 5;
/** One more comes and goes so often in a round. */
const TIMES = 5;
const SIZES = [1, 1000, 5000] as const;
/** A cost that grows with the number of containers, and is known to (3.9 times at 5,000): a measurement that does not see it sees nothing. */
const SEEN_FROM = 1.5;

/** How many containers, and who classifies their packets. */
interface Contestant {
  readonly who: 'ours' | 'rules' | 'cni';
  readonly size: number;
  readonly place: EgressPlace;
  /** Of ours and of rules. */
  readonly shape: Shape;
}

/** The classes of a place's containers, and the marks that lead to them. */
interface Shape {
  /** The qdisc with the classes of all, and the filter. */
  readonly common: readonly ShaperObject[];
  readonly classes: readonly ShaperClass[];
  readonly marks: ReadonlyMap<BenchContainer, string>;
  /** For one more. */
  readonly next: { readonly container: BenchContainer; readonly cls: ShaperClass; readonly mark: string };
}

/** What a packet costs with many containers, what one more costs, and all at once; beside the peers. */
export async function measureCost(runs: number, goOn: GoOn): Promise<BenchResult[]> {
  const contestants: Contestant[] = [];
  try {
    await layAll(contestants, goOn);
    const at = (who: Contestant['who'], size: number): Contestant | undefined =>
      contestants.find((each) => each.who === who && each.size === size);
    const costs = await costsOf(contestants, runs, goOn);
    const of = (who: Contestant['who'], size: number): readonly number[] => costs.get(at(who, size)!) ?? [];
    insistSeen(of);
    return [...costResults(of), ...(await programmingResults(at('ours', 5000)!, at('rules', 5000)!, runs, goOn))];
  } finally {
    for (const { place } of contestants) await place.close();
  }
}

async function layAll(contestants: Contestant[], goOn: GoOn): Promise<void> {
  const make = async (who: Contestant['who'], size: number): Promise<Contestant> => {
    goOn(`${size} containers, ${who === 'ours' ? 'ours' : who === 'rules' ? RULES_NAME : CNI_NAME}`);
    const place = await makeEgressPlace({ name: `${who}-${size}`, known: size, real: 1, inFrames: 0 });
    const contestant = { who, size, place, shape: shapeOf(place) };
    contestants.push(contestant);
    return contestant;
  };
  for (const size of SIZES) for (const who of ['ours', 'rules'] as const) await lay(await make(who, size));
  if (!hasBandwidthPlugin())
    return goOn('no CNI bandwidth plugin here (Debian: containernetworking-plugins): measured without it');
  const { place } = await make('cni', 1000);
  await layBandwidthCrowd(place, place.containers.slice(1));
  await addBandwidth(place, place.containers[0]!, { rateBitsPerSec: PLENTY_BITS_PER_SEC, burstBits: 8e9 });
}

function shapeOf(place: EgressPlace): Shape {
  const all = [...place.containers, containerAfter(place)];
  const shaped = all.map(({ name, port, address }) => ({
    name,
    egress: { ceilingBitsPerSec: PLENTY_BITS_PER_SEC },
    ports: [{ family: 'bridge' as const, port, address }],
    within: [],
    functions: [],
  }));
  const { objects, marks } = egressOf(shaped, UPLINK, { uplinkBitsPerSec: PLENTY_BITS_PER_SEC }, [], place.unshaped);
  const minors = new Set(marks.map(({ value }) => minorOf(value!)));
  const isOwn = (object: ShaperObject): object is ShaperClass => object.kind === 'class' && minors.has(object.minor);
  const classes = objects.filter(isOwn);
  return {
    common: objects.filter((object) => !isOwn(object)),
    classes: classes.slice(0, -1),
    marks: new Map(place.containers.map((container, index) => [container, marks[index]!.value!])),
    next: { container: all.at(-1)!, cls: classes.at(-1)!, mark: marks.at(-1)!.value! },
  };
}

/** Milliseconds of marking and shaping all containers of a place whose uplink has a qdisc without classes of theirs. */
async function lay({ who, place, shape }: Contestant): Promise<number> {
  await place.shape(shape.common);
  return await timed(async () => {
    if (who === 'ours') {
      const add = [...shape.marks].map(([container, mark]) => markElement(container, mark));
      insist(await place.firewall.apply([{ add, remove: [] }]));
      await place.shape(shape.classes);
    } else {
      await layRules(place, shape.marks);
      await layClasses(place, shape.classes);
    }
  });
}

async function wipe({ who, place, shape }: Contestant): Promise<void> {
  if (who === 'ours') {
    const remove = [...shape.marks].map(([container, mark]) => markElement(container, mark));
    insist(await place.firewall.apply([{ add: [], remove }]));
  } else await flushRules(place);
  insist(await place.shaper.remove(shape.common.filter(({ kind }) => kind === 'qdisc')));
}

/** A round's cost of each contestant, in turns. */
async function costsOf(
  contestants: readonly Contestant[],
  runs: number,
  goOn: GoOn,
): Promise<ReadonlyMap<Contestant, number[]>> {
  const costs = new Map(contestants.map((each): [Contestant, number[]] => [each, []]));
  const thread = await PinnedThread.pin();
  const loads: Load[] = [];
  try {
    for (const { place } of contestants) loads.push(new Load(place, thread));
    // The first packets ask for addresses, and make what is remembered of a connection.
    for (const load of loads) load.warmUp();
    for (let run = 1; run <= runs; run++) {
      goOn(`cost of a packet, round ${run} of ${runs}`);
      const turns = contestants.map((): number[] => []);
      for (let turn = 0; turn < TURNS; turn++) {
        for (const [index, load] of loads.entries()) turns[index]!.push(load.costUs(PACKETS));
        goOn();
      }
      for (const [index, each] of contestants.entries()) costs.get(each)!.push(median(turns[index]!));
    }
  } finally {
    for (const load of loads) load.close();
    await thread.release();
  }
  const sent = runs * TURNS * PACKETS;
  for (const each of contestants) if (each.who !== 'cni') await insistShaped(each, sent);
  return costs;
}

/** @throws Error unless the container's packets went through the class that is its own */
async function insistShaped({ who, size, place, shape }: Contestant, sent: number): Promise<void> {
  const own = shape.classes[0]!.minor;
  const passed = (await place.shaper.counters([{ namespace: '', name: UPLINK }])).find(({ minor }) => minor === own);
  if (passed === undefined || passed.sentPackets < sent || passed.droppedPackets > 0)
    throw new Error(
      `${who}, ${size} containers: of ${sent} packets ${passed?.sentPackets ?? 0} went by their own class`,
    );
}

type Costs = (who: Contestant['who'], size: number) => readonly number[];

function insistSeen(of: Costs): void {
  const ratio = median(of('rules', 5000)) / median(of('rules', 1));
  if (ratio < SEEN_FROM)
    throw new Error(
      `a packet past 5,000 iptables rules costs ${ratio.toFixed(2)} times one past a single rule, which cannot be: this machine is too busy to measure on, try again`,
    );
}

function costResults(of: Costs): BenchResult[] {
  const ratios = (who: Contestant['who']): number[] => of(who, 5000).map((cost, run) => cost / of(who, 1)[run]!);
  const beside = (size: number) => ({ name: RULES_NAME, rounds: of('rules', size) });
  return [
    resultBeside('egress.cost_5000_over_1', 'of the CPU a packet', ratios('ours'), {
      name: RULES_NAME,
      rounds: ratios('rules'),
    }),
    ...SIZES.map((size) => resultBeside(`egress.cost_${size}_us`, 'us', of('ours', size), beside(size))),
    resultBeside('egress.cost_1000_beside_cni_us', 'us', of('ours', 1000), { name: CNI_NAME, rounds: of('cni', 1000) }),
  ];
}

/** All at once, and one more beside them. */
async function programmingResults(
  ours: Contestant,
  rules: Contestant,
  runs: number,
  goOn: GoOn,
): Promise<BenchResult[]> {
  const both = [ours, rules];
  const layMs = both.map((): number[] => []);
  const moreMs = both.map((): number[] => []);
  for (let run = 1; run <= runs; run++) {
    goOn(`5000 at once, and one more, round ${run} of ${runs}`);
    for (const [index, each] of both.entries()) {
      await wipe(each);
      layMs[index]!.push(await lay(each));
    }
    const took = both.map((): number[] => []);
    for (let time = 0; time < TIMES; time++)
      for (const [index, each] of both.entries()) {
        took[index]!.push(await timed(() => comes(each)));
        await goes(each);
      }
    for (const [index, times] of took.entries()) moreMs[index]!.push(median(times));
  }
  return [
    resultBeside('egress.one_more_at_5000_ms', 'ms', moreMs[0]!, {
      name: `${RULES_NAME}, and tc class add`,
      rounds: moreMs[1]!,
    }),
    resultBeside('egress.lay_5000_ms', 'ms', layMs[0]!, {
      name: 'iptables-restore, and tc -batch',
      rounds: layMs[1]!,
    }),
  ];
}

async function comes({ who, place, shape: { next } }: Contestant): Promise<void> {
  if (who === 'rules') return addRule(place, next.container, next.mark, next.cls);
  insist(await place.firewall.apply([{ add: [markElement(next.container, next.mark)], remove: [] }]));
  await place.shape([next.cls]);
}

async function goes({ who, place, shape: { next } }: Contestant): Promise<void> {
  if (who === 'rules') return removeRule(place, next.container, next.mark, next.cls);
  insist(await place.firewall.apply([{ add: [], remove: [markElement(next.container, next.mark)] }]));
  insist(await place.shaper.remove([next.cls]));
}

async function timed(work: () => Promise<void>): Promise<number> {
  const begunMs = monotonicMs();
  await work();
  return monotonicMs() - begunMs;
}
