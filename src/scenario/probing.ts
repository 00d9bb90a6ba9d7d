import type { ReachObservation } from '../engine/observation.ts';
import type { AnswerPlace, Answering, Arrival, Probe, ProbeResult } from '../host/probes.ts';
import type { Addressing } from './addressing.ts';
import { HEADER_BYTES, mtuOf } from './sender-mtu.ts';
import { probeKey, type ReachClaim, type ReachPair } from './reach.ts';
import type { Bystander } from './run.ts';
import type { Attachment, Scenario } from './scenario.ts';

/** RFC 862's port, where whoever answers sends back what came. */
const ECHO_PORT = 7;

export interface ProberOptions {
  readonly bystander: (host: string) => Bystander;
  readonly addressing: Addressing;
  /** Where a container is attached at this time. */
  readonly attachmentsOf: (container: string) => readonly Attachment[];
}

/** What became of a probe; whoever takes it adds when. */
export type Reached = Omit<ReachObservation, 'atMs'>;

/** A probe that a claim asks for, as it will be sent; null: it cannot be, and why. */
interface Planned {
  readonly pair: ReachPair;
  readonly told: Omit<Reached, 'answeredBy' | 'arrivedAt' | 'seenFrom' | 'why'>;
  readonly probe: Probe | null;
  readonly why: string;
}

/** Sends the probes that a scenario's expectations ask for. */
export class Prober {
  readonly #scenario: Scenario;
  readonly #claims: readonly ReachClaim[];
  readonly #options: ProberOptions;

  constructor(scenario: Scenario, claims: readonly ReachClaim[], options: ProberOptions) {
    this.#scenario = scenario;
    this.#claims = claims;
    this.#options = options;
  }

  /** The moments at which there is something to send, in order. */
  get moments(): readonly number[] {
    return [...new Set(this.#claims.map(({ momentMs }) => momentMs))].toSorted((a, b) => a - b);
  }

  /** Sends everything of one moment; every host and namespace answers meanwhile, and then no more. By host of the sender. */
  async probe(momentMs: number): Promise<readonly { readonly host: string; readonly reached: Reached }[]> {
    const namespaces = await this.#namespaces();
    const planned: Planned[] = [];
    for (const [claim, pair] of this.#asked(momentMs)) planned.push(await this.#plan(claim, pair, namespaces));
    const answering = await Promise.all([...namespaces].map(([host, names]) => this.#answer(host, names)));
    const found = new Map<Planned, Reached>();
    try {
      const before = answering.map(() => 0);
      for (const round of roundsOf(planned)) {
        const results = await this.#send(round);
        const arrivals: Arrival[] = [];
        for (const [index, each] of answering.entries()) {
          const all = await each.arrivals();
          arrivals.push(...all.slice(before[index]));
          before[index] = all.length;
        }
        for (const each of round) found.set(each, reached(each, results.get(each), arrivals));
      }
    } finally {
      await Promise.all(answering.map((each) => each.close()));
    }
    return planned.map((each) => ({ host: each.pair.from.host, reached: found.get(each)! }));
  }

  /** What the claims of this moment ask for, each once. */
  #asked(momentMs: number): Iterable<readonly [ReachClaim, ReachPair]> {
    const asked = new Map<string, readonly [ReachClaim, ReachPair]>();
    for (const claim of this.#claims) {
      if (claim.momentMs !== momentMs) continue;
      for (const pair of claim.pairs) asked.set(probeKey(claim, pair), [claim, pair]);
    }
    return asked.values();
  }

  async #namespaces(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
    const hosts = this.#scenario.hosts.map(({ name }) => name);
    const names = await Promise.all(hosts.map((host) => this.#options.bystander(host).namespaces.list()));
    return new Map(hosts.map((host, index) => [host, new Set(['', ...names[index]!])]));
  }

  async #answer(host: string, namespaces: ReadonlySet<string>): Promise<Answering> {
    const places = new Map<string, AnswerPlace>();
    const add = (namespace: string, port: number): void => {
      if (namespaces.has(namespace)) places.set(`${namespace} ${port}`, { namespace, port });
    };
    for (const namespace of namespaces) add(namespace, ECHO_PORT);
    for (const container of this.#scenario.containers) {
      if (container.host !== host) continue;
      for (const { publish } of this.#options.attachmentsOf(container.name))
        for (const { protocol, containerPort } of publish) if (protocol === 'udp') add(container.name, containerPort);
    }
    return this.#options.bystander(host).probes.answer([...places.values()]);
  }

  async #plan(
    claim: ReachClaim,
    pair: ReachPair,
    namespaces: ReadonlyMap<string, ReadonlySet<string>>,
  ): Promise<Planned> {
    const { from, to } = pair;
    const { momentMs, forgedSource, payload } = claim;
    const network = to.kind === 'container' ? this.#options.addressing.networkOf(from, to) : undefined;
    const address = this.#options.addressing.addressOf(pair);
    const isThere = namespaces.get(from.host)!.has(from.namespace);
    const payloadBytes =
      payload === 'full'
        ? isThere
          ? (await mtuOf(from, network, this.#scenario, this.#options)) - HEADER_BYTES
          : 0
        : payload;
    const port = to.kind === 'address' ? to.port : undefined;
    const told = {
      kind: 'reach',
      momentMs,
      from: from.text,
      ...(forgedSource !== undefined && { forgedSource }),
      to: to.text,
      address: isThere ? (address ?? null) : null,
      protocol: 'udp',
      ...(port !== undefined && { port }),
      ...(payloadBytes !== undefined && { payloadBytes }),
      ...(payload === 'full' && { full: true as const }),
    } as const;
    if (!isThere || address === undefined) {
      const why = isThere ? `${to.text} has no address` : `${from.text} is in no network`;
      return { pair, told, probe: null, why };
    }
    const probe: Probe = {
      from: from.namespace,
      ...(forgedSource !== undefined && { forgedSource }),
      to: address,
      protocol: 'udp',
      port: port ?? ECHO_PORT,
      ...(payloadBytes !== undefined && { payloadBytes }),
    };
    return { pair, told, probe, why: '' };
  }

  async #send(round: readonly Planned[]): Promise<ReadonlyMap<Planned, ProbeResult>> {
    const sendable = round.flatMap((each) => (each.probe === null ? [] : [{ each, probe: each.probe }]));
    const byHost = [...Map.groupBy(sendable, ({ each }) => each.pair.from.host)];
    const results = await Promise.all(
      byHost.map(([host, some]) => this.#options.bystander(host).probes.send(some.map(({ probe }) => probe))),
    );
    return new Map(byHost.flatMap(([, some], host) => some.map(({ each }, index) => [each, results[host]![index]!])));
  }
}

/** Of one sender to one address only one at a time, so that what arrives can be told apart. */
function roundsOf(planned: readonly Planned[]): Planned[][] {
  const rounds: Planned[][] = [];
  const times = new Map<string, number>();
  for (const each of planned) {
    const way = `${each.pair.from.host}/${each.pair.from.namespace} ${each.told.address}`;
    const time = each.probe === null ? 0 : (times.get(way) ?? 0);
    times.set(way, time + 1);
    (rounds[time] ??= []).push(each);
  }
  return rounds;
}

function reached({ pair, told, why }: Planned, result: ProbeResult | undefined, arrivals: readonly Arrival[]): Reached {
  if (result === undefined) return { ...told, answeredBy: null, arrivedAt: null, seenFrom: null, why };
  const { answeredBy, arrivedAt, seenFrom } = result;
  // Who sends learns of arrivals on its own host alone.
  const arrival = arrivals.find(
    ({ sentBy, sentTo }) => sentBy === `${pair.from.host}/${pair.from.namespace}` && sentTo === told.address,
  );
  return {
    ...told,
    answeredBy,
    arrivedAt: arrivedAt ?? arrival?.at ?? null,
    seenFrom: seenFrom ?? arrival?.seenFrom ?? null,
    why: answeredBy === null && arrival !== undefined ? 'it arrived, and no answer came back' : result.why,
  };
}
