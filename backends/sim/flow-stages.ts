import { fill } from './fill.ts';
import type { FlowWay } from './flow-way.ts';
import type { Stage, Step, Want } from './flow-rates.ts';
import type { Passed } from './hop-tally.ts';
import { shareOf, type ShareClass } from './htb-shares.ts';
import type { HostNetwork, Link } from './network.ts';
import type { Nic, Vf } from './nic.ts';
import { costNs, type HopCounts, HOPS, type PacketCosts } from './packet-costs.ts';
import { classOf, ETHERNET_BYTES, Htb, type HtbClass } from './qdisc.ts';

/** What an Ethernet carries besides: preamble, frame check and the gap between frames; and its shortest frame (IEEE 802.3, 4.4.2). */
const LINE_BYTES = 24;
const FRAME_MIN_BYTES = 60;

/** TCP hands the stack up to so much at once, and a packet's way is gone once for all of it (GSO_LEGACY_MAX_SIZE: include/linux/netdevice.h). */
const AT_ONCE_BYTES = 65_536;

/** A flow's way as stages. */
export interface StagedWay {
  readonly steps: readonly Step[];
  /** The classes that count it, by step. */
  readonly classes: ReadonlyMap<number, CountedAt>;
  /** Steps through CPUs. */
  readonly cpus: ReadonlySet<number>;
  /** What on it nothing tells the cost of; empty where all is calibrated. */
  readonly uncalibrated: readonly string[];
  /** What on it is not modelled, in words; null: nothing. */
  readonly unmodelled: string | null;
}

/** A class on the way, and the size of packets there. */
interface CountedAt {
  readonly of: HtbClass;
  readonly bytes: number;
  /** The last of the steps that belong to its link: what passes that has passed the class. */
  readonly lastStep: number;
}

/** A host's CPUs: a flow is one thread's work on each host, and has one of them at most. */
class CpuStage implements Stage {
  readonly #cpus: number;

  constructor(cpus: number) {
    this.#cpus = cpus;
  }

  share(wants: readonly Want[]): number[] {
    const all = { left: this.#cpus };
    const claimants = wants.map(({ amount }) => ({
      weight: 1,
      room: Math.min(1, amount),
      takes: [{ of: all, each: 1 }],
      granted: 0,
    }));
    fill(claimants);
    return claimants.map(({ granted }) => granted);
  }
}

/** A queue before something of this speed. */
class QueueStage implements Stage {
  readonly #bitsPerSec: number;

  constructor(bitsPerSec: number) {
    this.#bitsPerSec = bitsPerSec;
  }

  share(wants: readonly Want[]): number[] {
    return shareOf(wants, this.#bitsPerSec);
  }
}

/** The stages that flows share, made as they are met. */
export class Stages {
  readonly #costs: PacketCosts;
  readonly #cpus = new Map<HostNetwork, CpuStage>();
  readonly #links = new Map<Link, QueueStage>();
  readonly #wires = { out: new Map<Nic, QueueStage>(), in: new Map<Nic, QueueStage>() };
  /** A card by itself, and what has its turns there: its PF, which is told by the card, and VFs. */
  readonly #cards = new Map<Nic, ShareClass>();
  readonly #functions = new Map<Vf | Nic, ShareClass>();

  constructor(costs: PacketCosts) {
    this.#costs = costs;
  }

  /** @param bytes of each packet as its sender sends it */
  of({ hops, passed }: FlowWay, sender: HostNetwork, bytes: number, isElastic: boolean): StagedWay {
    const steps: Step[] = [];
    const classes = new Map<number, CountedAt>();
    const cpus = new Set<number>();
    const atOnce = isElastic ? Math.max(1, Math.floor(AT_ONCE_BYTES / bytes)) : 1;
    const met = new Set<HostNetwork>();
    let unmodelled: string | null = null;
    const onHost = (host: HostNetwork): void => {
      const counts = hops.get(host);
      if (met.has(host) || counts === undefined) return;
      met.add(host);
      const ns = this.#nsOf(counts, atOnce) + (host === sender ? bytes * this.#costs.nsPerByte : 0);
      if (ns === 0) return;
      cpus.add(steps.length);
      steps.push({ stage: this.#cpuOf(host), into: null, perPacket: ns / 1e9 });
    };
    onHost(sender);
    for (const [index, each] of passed.entries()) {
      const { link } = each;
      if (each.direction === 'in') {
        const from = passed[index - 1]?.link.nic ?? null;
        if (link.nic !== null && link.nic !== from) steps.push(this.#wireStep(link.nic, each));
        onHost(link.space.host);
        continue;
      }
      const { qdisc } = link;
      if (qdisc !== null && !(qdisc instanceof Htb))
        unmodelled ??= `what ${qdisc.type} ${qdisc.handle}, somebody else's on ${link.label}, lets through is not modelled`;
      if (qdisc instanceof Htb || link.vf !== null) {
        const into = qdisc instanceof Htb ? classOf(qdisc, each.mark) : null;
        // What a card does not let out waits before it, and is lost there.
        const lastStep = steps.length + (link.nic === null ? 0 : 1);
        if (into !== null) classes.set(steps.length, { of: into, bytes: each.bytes, lastStep });
        const perPacket = (each.bytes + ETHERNET_BYTES) * 8;
        const takesBehind = link.nic === null || isHeld(link) ? 1 : lineBits(each.bytes) / perPacket;
        steps.push({ stage: this.#linkOf(link), into, perPacket, takesBehind });
      }
      if (link.nic !== null) steps.push(this.#wireStep(link.nic, each));
    }
    return { steps, classes, cpus, uncalibrated: this.#uncalibrated(hops), unmodelled };
  }

  /** What is not calibrated counts as a wire's end, which it is no cheaper than: who is held back even so is not told a rate. */
  #nsOf(counts: HopCounts, atOnce: number): number {
    const { nsPerHop } = this.#costs;
    const known = Object.fromEntries(HOPS.map((hop) => [hop, nsPerHop[hop] ?? nsPerHop.wire ?? 0])) as Record<
      keyof HopCounts,
      number
    >;
    return costNs(counts, 0, { ...this.#costs, nsPerHop: known }) / atOnce;
  }

  #uncalibrated(hops: FlowWay['hops']): string[] {
    return HOPS.filter(
      (hop) => this.#costs.nsPerHop[hop] === null && [...hops.values()].some((counts) => counts[hop] > 0),
    );
  }

  #cpuOf(host: HostNetwork): CpuStage {
    return made(this.#cpus, host, () => new CpuStage(host.cpus));
  }

  #linkOf(link: Link): QueueStage {
    return made(this.#links, link, () => new QueueStage(limitOf(link)));
  }

  /** Out to the wire functions have their turns, each with what it is guaranteed first. */
  #wireStep(nic: Nic, { link, direction, bytes }: Passed): Step {
    const stage = made(this.#wires[direction], nic, () => new QueueStage(nic.speedBitsPerSec));
    return { stage, into: direction === 'in' ? null : this.#functionOf(nic, link.vf), perPacket: lineBits(bytes) };
  }

  #functionOf(nic: Nic, vf: Vf | null): ShareClass {
    const whole = { ceilBitsPerSec: nic.speedBitsPerSec, quantumBytes: 1, fairQueue: false };
    const card = made(this.#cards, nic, () => ({
      numbers: { ...whole, rateBitsPerSec: nic.speedBitsPerSec },
      parent: null,
    }));
    const own = (): ShareClass => ({
      numbers: { ...whole, rateBitsPerSec: vf?.knobs.minRateBitsPerSec ?? 0 },
      parent: card,
    });
    return made(this.#functions, vf ?? nic, own);
  }
}

const lineBits = (bytes: number): number => (Math.max(FRAME_MIN_BYTES, bytes + ETHERNET_BYTES) + LINE_BYTES) * 8;

function made<K, V>(all: Map<K, V>, key: K, make: () => V): V {
  let is = all.get(key);
  if (is === undefined) all.set(key, (is = make()));
  return is;
}

/** Has a card been told what this VF may send? It counts frames alone. */
const isHeld = ({ vf }: Link): boolean => vf !== null && vf.knobs.maxRateBitsPerSec !== 0;

/** What a link itself lets out. */
const limitOf = (link: Link): number =>
  isHeld(link) ? link.vf!.knobs.maxRateBitsPerSec : (link.nic?.speedBitsPerSec ?? Infinity);
