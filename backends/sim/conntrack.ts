import type { Packet } from './packet.ts';
import type { Space } from './network.ts';

/**
 * A flow that a host's firewall follows, with the addresses it has before and after translation: the original way, and
 * the reply's, whose packets come from `answerer` and go to `asker`.
 */
export class Flow {
  space: Space | null = null;
  protocol = 0;
  source = 0;
  sourcePort = 0;
  destination = 0;
  destPort = 0;
  answerer = 0;
  answererPort = 0;
  asker = 0;
  askerPort = 0;
  replied = false;
  /** `ct status dnat` and its like. */
  isDnat = false;
  isSnat = false;
  /** Translation is decided once, by the first packet. */
  destinationDecided = false;
  sourceDecided = false;
}

/**
 * The flows of one probe. Each probe begins with none, as if it were the first packet between the two for minutes: what
 * an earlier one left behind (an entry lives 30 s and more, nf_conntrack_proto_udp.c) does not let a later one through.
 */
export class Flows {
  readonly #flows: Flow[] = [];
  #count = 0;

  clear(): void {
    this.#count = 0;
  }

  /** Finds the packet's flow in this namespace, or begins one. */
  track(space: Space, packet: Packet): void {
    if (packet.flow !== null) return;
    for (let index = 0; index < this.#count; index++) {
      const flow = this.#flows[index]!;
      if (flow.space !== space || flow.protocol !== packet.protocol) continue;
      if (isOriginal(flow, packet)) {
        attach(packet, flow, false);
        return;
      }
      if (isReply(flow, packet)) {
        flow.replied = true;
        attach(packet, flow, true);
        return;
      }
    }
    attach(packet, this.#begin(space, packet), false);
  }

  #begin(space: Space, packet: Packet): Flow {
    const flow = (this.#flows[this.#count++] ??= new Flow());
    flow.space = space;
    flow.protocol = packet.protocol;
    flow.source = flow.asker = packet.source;
    flow.sourcePort = flow.askerPort = packet.sourcePort;
    flow.destination = flow.answerer = packet.destination;
    flow.destPort = flow.answererPort = packet.destPort;
    flow.replied = flow.isDnat = flow.isSnat = flow.destinationDecided = flow.sourceDecided = false;
    return flow;
  }
}

const isOriginal = (flow: Flow, packet: Packet): boolean =>
  flow.source === packet.source &&
  flow.destination === packet.destination &&
  flow.sourcePort === packet.sourcePort &&
  flow.destPort === packet.destPort;

const isReply = (flow: Flow, packet: Packet): boolean =>
  flow.answerer === packet.source &&
  flow.asker === packet.destination &&
  flow.answererPort === packet.sourcePort &&
  flow.askerPort === packet.destPort;

function attach(packet: Packet, flow: Flow, isReply: boolean): void {
  packet.flow = flow;
  packet.isReply = isReply;
  packet.established = flow.replied;
}

/** Gives a packet the destination that its flow has by now (at prerouting and output). False: it has it. */
export function translateDestination(packet: Packet, flow: Flow): boolean {
  if (packet.isReply ? !flow.isSnat : !flow.isDnat) return false;
  packet.destination = packet.isReply ? flow.source : flow.answerer;
  packet.destPort = packet.isReply ? flow.sourcePort : flow.answererPort;
  return true;
}

/** Gives a packet the source that its flow has by now (at postrouting and input). False: it has it. */
export function translateSource(packet: Packet, flow: Flow): boolean {
  if (packet.isReply ? !flow.isDnat : !flow.isSnat) return false;
  packet.source = packet.isReply ? flow.destination : flow.asker;
  packet.sourcePort = packet.isReply ? flow.destPort : flow.askerPort;
  return true;
}
