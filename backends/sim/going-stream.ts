import type { Flow, FlowRate } from './flow-rates.ts';
import type { StagedWay, Stages } from './flow-stages.ts';
import { type FlowWay, wayOf, wayOfSegments } from './flow-way.ts';
import type { Network, Space } from './network.ts';
import { HEADER_BYTES, TCP, type UDP } from './packet.ts';
import { charge, ETHERNET_BYTES, type HtbClass } from './qdisc.ts';
import type { StreamEnd } from './stream-end.ts';

/** A stream as its sender asks for it. */
export interface StreamSent {
  readonly from: Space;
  readonly to: number;
  readonly port: number;
  readonly protocol: typeof TCP | typeof UDP;
  /** Of UDP, of each datagram. */
  readonly payloadBytes: number;
  /** On the wire; Infinity: as fast as it goes. */
  readonly rateBitsPerSec: number;
}

/** Finds who takes what comes to a port. */
type EndAt = (space: Space, protocol: number, port: number) => StreamEnd | undefined;

/** So little is missing of a whole packet by rounding alone. */
const ROUNDING = 1e-6;

/** What flows by as a fluid, counted in whole packets. */
class Meter {
  #part = 0;

  /** How many have become whole. */
  flow(perSec: number, passedMs: number): number {
    const packets = this.#part + (perSec * passedMs) / 1000;
    const whole = Math.floor(packets + ROUNDING);
    this.#part = packets - whole;
    return whole;
  }
}

/** A class that a stream passes: what passes, and what is lost there. */
interface ClassRate {
  readonly of: HtbClass;
  readonly bytes: number;
  readonly sentPerSec: number;
  readonly lostPerSec: number;
}

/** A stream under way. */
export class GoingStream {
  readonly sent: StreamSent;
  /** Why nobody can tell how fast it goes; null: it is known. */
  unknown: string | null = null;
  #end: StreamEnd | undefined;
  #way: StagedWay | null = null;
  /** Of each IP packet. */
  #bytes = 0;
  #arrivingPerSec = 0;
  #classes: readonly ClassRate[] = [];
  readonly #arrived = new Meter();
  readonly #passed = new Map<HtbClass, { readonly sent: Meter; readonly lost: Meter }>();

  constructor(sent: StreamSent) {
    this.sent = sent;
  }

  /** The way that its packets take now, as a flow; null: nothing of it flows. */
  findWay(network: Network, stages: Stages, endAt: EndAt): Flow | null {
    this.unknown = null;
    this.#way = null;
    const { from, protocol, rateBitsPerSec } = this.sent;
    const isTcp = protocol === TCP;
    // A connection whose other end was closed does not come back.
    if (isTcp && this.#end?.isClosed === true) return null;
    const { way, bytes } = this.#walk(network);
    const { arrival } = way;
    this.#bytes = bytes;
    this.#end = arrival === null ? undefined : endAt(arrival.space, protocol, arrival.port);
    if (isTcp && (this.#end === undefined || !way.isAnswered)) return null;
    const staged = stages.of(way, from.host, bytes, isTcp);
    this.unknown = staged.unmodelled ?? (isTcp ? null : whyCut(way, bytes));
    if (this.unknown !== null) return null;
    this.#way = staged;
    return { steps: staged.steps, isElastic: isTcp, offeredPerSec: rateBitsPerSec / (8 * (bytes + ETHERNET_BYTES)) };
  }

  #walk(network: Network): { way: FlowWay; bytes: number } {
    const { payloadBytes, protocol, ...sent } = this.sent;
    if (protocol === TCP) return wayOfSegments(network, { ...sent, protocol });
    const bytes = payloadBytes + HEADER_BYTES;
    return { way: wayOf(network, { ...sent, protocol, bytes }), bytes };
  }

  /** From now on it goes so fast; null: not at all. */
  takeRate(rate: FlowRate | null): void {
    this.#arrivingPerSec = 0;
    this.#classes = [];
    const way = this.#way;
    if (rate !== null && way !== null) {
      if (way.uncalibrated.length > 0 && rate.heldAt !== null && way.cpus.has(rate.heldAt))
        this.unknown = `a CPU holds it back, and what packets cost there is not calibrated: ${way.uncalibrated.join(', ')}`;
      else {
        this.#arrivingPerSec = rate.arrivingPerSec;
        this.#classes = Array.from(way.classes, ([step, { of, bytes, lastStep }]) => {
          const { comingPerSec } = rate.steps[step]!;
          const { passingPerSec } = rate.steps[lastStep]!;
          return { of, bytes, sentPerSec: passingPerSec, lostPerSec: comingPerSec - passingPerSec };
        });
      }
    }
    if (this.#end !== undefined) this.#end.unknown ??= this.unknown;
  }

  /** So much time passes. */
  flow(passedMs: number): void {
    for (const { of, bytes, sentPerSec, lostPerSec } of this.#classes) {
      let meters = this.#passed.get(of);
      if (meters === undefined) this.#passed.set(of, (meters = { sent: new Meter(), lost: new Meter() }));
      charge(of, meters.sent.flow(sentPerSec, passedMs), bytes);
      of.droppedPackets += meters.lost.flow(lostPerSec, passedMs);
    }
    this.#end?.take(this.#arrived.flow(this.#arrivingPerSec, passedMs), this.#bytes);
  }
}

/** Null: datagrams are not cut, as far as they come. */
const whyCut = ({ arrival, roomBytes }: FlowWay, bytes: number): string | null =>
  arrival === null && roomBytes > 0
    ? `packets of ${bytes} bytes would be cut for a link that takes ${roomBytes}, and fragments are not modelled`
    : null;
