import type { ClassesObservation, PacketsObservation, RateObservation } from '../engine/observation.ts';
import type { Clock } from '../host/clock.ts';
import type { Stream } from '../host/probes.ts';
import { markOf } from '../host/shaper.ts';
import type { Addressing } from './addressing.ts';
import type { Sender } from './reach.ts';
import type { Bystander } from './run.ts';
import { HEADER_BYTES, mtuOf } from './sender-mtu.ts';
import type { Scenario } from './scenario.ts';
import {
  type ClassifiedClaim,
  classifiedKey,
  DEFAULT_CLASS,
  type PacketsClaim,
  packetsKey,
  type RateClaim,
  rateKey,
  type TrafficClaim,
} from './traffic.ts';

/** Where packets are sent that are only counted: discard (RFC 863). */
const DISCARD_PORT = 9;

/** So many are sent, to tell them from a packet of somebody else's. */
const PACKETS = 5;

/** The first of the ports at which streams end. */
const STREAM_PORT = 5001;

/** Until bursts are spent and TCP has found its rate. */
const WARM_UP_MS = 500;

export interface MeterOptions {
  readonly bystander: (host: string) => Bystander;
  readonly addressing: Addressing;
  readonly clock: Clock;
}

type Measured = Omit<ClassesObservation, 'atMs'> | Omit<RateObservation, 'atMs'> | Omit<PacketsObservation, 'atMs'>;
type StreamClaim = RateClaim | PacketsClaim;

/** A flow that can be sent. */
interface Flow {
  readonly claim: StreamClaim;
  readonly address: string;
  readonly port: number;
  /** Of a rate as much as its link takes: fragments would have headers that nobody counts. */
  readonly payloadBytes: number;
  readonly receiver: { readonly host: string; readonly namespace: string };
}

/** Measures what a scenario's expectations claim of traffic. */
export class Meter {
  readonly #scenario: Scenario;
  readonly #claims: readonly TrafficClaim[];
  readonly #options: MeterOptions;

  constructor(scenario: Scenario, claims: readonly TrafficClaim[], options: MeterOptions) {
    this.#scenario = scenario;
    this.#claims = claims;
    this.#options = options;
  }

  get moments(): readonly number[] {
    return this.#claims.map(({ momentMs }) => momentMs);
  }

  /** Counts packets one after another, and then measures all streams of this moment at once. By host of the sender. */
  async measure(momentMs: number): Promise<readonly { readonly host: string; readonly seen: Measured }[]> {
    const claims = this.#claims.filter((claim) => claim.momentMs === momentMs);
    const counted = new Map(
      claims.flatMap((each) => (each.kind === 'classified' ? [[classifiedKey(each), each]] : [])),
    );
    const rates = new Map(claims.flatMap((each) => (each.kind === 'rate' ? [[rateKey(each), each]] : [])));
    const packets = new Map(claims.flatMap((each) => (each.kind === 'packets' ? [[packetsKey(each), each]] : [])));
    const found: { host: string; seen: Measured }[] = [];
    for (const claim of counted.values()) found.push({ host: claim.pair.from.host, seen: await this.#count(claim) });
    return [...found, ...(await this.#measureStreams([...rates.values(), ...packets.values()]))];
  }

  async #count(claim: ClassifiedClaim): Promise<Measured> {
    const { momentMs, pair, markedAs } = claim;
    const host = this.#options.bystander(pair.from.host);
    const address = await this.#addressOf(claim);
    const told = {
      kind: 'classes',
      momentMs,
      from: pair.from.text,
      to: pair.to.text,
      ...(markedAs !== undefined && { markedAs }),
    } as const;
    if (typeof address !== 'string') return { ...told, sent: 0, counted: {}, why: address.why };
    const owners = await host.classes();
    const minor = markedAs === undefined ? undefined : owners.get(markedAs);
    if (markedAs !== undefined && minor === undefined)
      return { ...told, sent: 0, counted: {}, why: `${markedAs} has no class whose mark could be taken` };
    const before = await this.#counters(pair.from, owners);
    const probe = {
      from: pair.from.namespace,
      to: address,
      protocol: 'udp',
      port: DISCARD_PORT,
      ...(minor !== undefined && { mark: markOf(minor) }),
    } as const;
    await host.probes.send(Array.from({ length: PACKETS }, () => probe));
    const after = await this.#counters(pair.from, owners);
    const counted = Object.fromEntries([...after].map(([name, packets]) => [name, packets - (before.get(name) ?? 0)]));
    return { ...told, sent: PACKETS, counted, why: '' };
  }

  /** What every class of the uplink that has none under it has counted, by whose it is. */
  async #counters({ host: name }: Sender, owners: ReadonlyMap<string, number>): Promise<Map<string, number>> {
    const { shaper } = this.#options.bystander(name);
    const uplink = this.#scenario.hosts.find((host) => host.name === name)!.uplink!;
    const links = [{ namespace: '', name: uplink.link }];
    const { objects } = await shaper.list(links);
    const parents = new Set(objects.flatMap((each) => (each.kind === 'class' ? [each.parentMinor] : [])));
    const rest = objects.find((each) => each.kind === 'qdisc')?.defaultMinor;
    const names = new Map([...owners].map(([container, minor]) => [minor, container]));
    const leaves = (await shaper.counters(links)).filter(({ minor }) => !parents.has(minor));
    return new Map(
      leaves.map(({ minor, sentPackets }) => [
        minor === rest ? DEFAULT_CLASS : (names.get(minor) ?? `class ${minor.toString(16)}`),
        sentPackets,
      ]),
    );
  }

  async #measureStreams(claims: readonly StreamClaim[]): Promise<{ host: string; seen: Measured }[]> {
    const flows: Flow[] = [];
    const refused: { host: string; seen: Measured }[] = [];
    for (const [index, claim] of claims.entries()) {
      const address = await this.#addressOf(claim);
      if (typeof address !== 'string') {
        refused.push({ host: claim.pair.from.host, seen: seenOf(claim, null, address.why) });
        continue;
      }
      const [receiver = '', namespace = ''] = claim.pair.by!.split('/');
      const payloadBytes = claim.kind === 'packets' ? claim.payloadBytes : await this.#fullPayload(claim);
      flows.push({ claim, address, port: STREAM_PORT + index, payloadBytes, receiver: { host: receiver, namespace } });
    }
    const rates = await this.#send(flows);
    return [
      ...refused,
      ...flows.map(({ claim }, index) => ({ host: claim.pair.from.host, seen: seenOf(claim, rates[index]!, '') })),
    ];
  }

  async #fullPayload({ pair: { from, to } }: RateClaim): Promise<number> {
    const network = to.kind === 'container' ? this.#options.addressing.networkOf(from, to) : undefined;
    return (await mtuOf(from, network, this.#scenario, this.#options)) - HEADER_BYTES;
  }

  /** All at once; bits a second of each, over its own time. */
  async #send(flows: readonly Flow[]): Promise<number[]> {
    const { bystander, clock } = this.#options;
    const closing: { close(): Promise<void> }[] = [];
    try {
      const reads: (() => Promise<number>)[] = [];
      for (const { claim, port, receiver } of flows) {
        const place = { namespace: receiver.namespace, port, protocol: protocolOf(claim) };
        const receiving = await bystander(receiver.host).probes.receive([place]);
        closing.unshift(receiving);
        reads.push(async () => (await receiving.wireBytes())[0]!);
      }
      for (const [host, some] of Map.groupBy(flows, ({ claim }) => claim.pair.from.host))
        closing.unshift(
          await bystander(host).probes.stream(
            some.map(({ claim, address, port, payloadBytes }) => ({
              from: claim.pair.from.namespace,
              to: address,
              port,
              protocol: protocolOf(claim),
              payloadBytes,
              ...(claim.kind === 'rate' && claim.sends !== undefined && { rateBitsPerSec: claim.sends }),
            })),
          ),
        );
      await clock.sleep(WARM_UP_MS);
      return await Promise.all(
        flows.map(async ({ claim }, index) => {
          const read = reads[index]!;
          const [bytes, sinceMs] = [await read(), clock.monotonicMs()];
          await clock.sleep(claim.forMs);
          return (((await read()) - bytes) * 8000) / (clock.monotonicMs() - sinceMs);
        }),
      );
    } finally {
      for (const each of closing) await each.close();
    }
  }

  async #addressOf({ pair }: TrafficClaim): Promise<string | { readonly why: string }> {
    const { bystander, addressing } = this.#options;
    const { from, to } = pair;
    const isThere = from.namespace === '' || (await bystander(from.host).namespaces.list()).includes(from.namespace);
    if (!isThere) return { why: `${from.text} is in no network` };
    return addressing.addressOf(pair) ?? { why: `${to.text} has no address` };
  }
}

const protocolOf = (claim: StreamClaim): Stream['protocol'] => (claim.kind === 'rate' ? claim.protocol : 'udp');

/** Headers of a datagram on an Ethernet, which are counted with it. */
const FRAME_HEADER_BYTES = 14 + HEADER_BYTES;

/** @param bitsPerSec null: nothing was sent */
function seenOf(claim: StreamClaim, bitsPerSec: number | null, why: string): Measured {
  const { momentMs, pair, forMs } = claim;
  const told = { momentMs, from: pair.from.text, to: pair.to.text, forMs, why };
  if (claim.kind === 'rate') return { kind: 'rate', ...told, protocol: claim.protocol, bitsPerSec };
  const { payloadBytes } = claim;
  const packetsPerSec = bitsPerSec && bitsPerSec / (8 * (payloadBytes + FRAME_HEADER_BYTES));
  return { kind: 'packets', ...told, payloadBytes, packetsPerSec };
}
